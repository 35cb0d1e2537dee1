"""What each of several processes does in test_several: run by torchrun, one scenario after the other, in one group."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from torch import nn

from maquette.cli.app import main
from maquette.data.dataset import Dataset
from maquette.data.encode import Encoders
from maquette.errors import DataError
from maquette.training import session
from maquette.training.processes import together
from maquette.training.runtime import Runtime

RANK = int(os.environ["RANK"])


def replaced(owner: object, name: str, make: Callable[[Callable], Callable]) -> None:
    """Put something else in a function's place, in the second process alone."""
    if RANK == 1:
        setattr(owner, name, make(getattr(owner, name)))


def spoil(scenario: str) -> None:
    """What goes wrong in the second process."""
    match scenario:
        case "stop":
            replaced(session.Session, "_read", lambda read: lambda self, window, seconds: asked(read, self, window))
        case "fails":
            replaced(Dataset, "_batch", lambda batch: lambda self, step, rows: gone(batch, self, step, rows))
        case "nan":
            replaced(session, "train", lambda train: lambda *args, **kwargs: train(args[0], nans, *args[2:], **kwargs))


def asked(read: Callable, self: session.Session, window: list) -> object:
    if window[-1].step == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return read(self, window, 0.0)


def gone(batch: Callable, self: Dataset, step: int, rows: object) -> object:
    if step == 1:
        raise DataError("two.png: is gone. Put it back.")
    return batch(self, step, rows)


def nans(batch: object, rng: object) -> torch.Tensor:
    del rng
    return torch.full_like(batch.weight, torch.nan, requires_grad=True)


def sums() -> dict[str, object]:
    """Gradients that only some processes have, and one that overflows in the second alone, under loss scaling."""
    with together() as processes:
        both, second, none = (nn.Parameter(torch.ones(2)) for _ in range(3))
        both.grad = torch.full((2,), float(RANK + 1))
        second.grad = torch.full((2,), 5.0) if RANK == 1 else None
        runtime = Runtime(torch.device("cpu"), torch.float32, None, processes)
        loss, images = runtime.gathered([both, second, none], torch.tensor(0.5), RANK + 3)
        told: dict[str, object] = {
            "both": both.grad.tolist(),
            "second": second.grad.tolist(),
            "none": none.grad,
            "loss": loss.item(),
            "images": images,
        }
        scaled = Runtime(torch.device("cpu"), torch.float16, torch.amp.GradScaler("cpu", init_scale=4.0), processes)
        optimizer = torch.optim.SGD([both], lr=1.0)
        optimizer.zero_grad()
        scaled.backward((both * (torch.inf if RANK == 1 else 1.0)).sum())
        scaled.gathered([both], torch.tensor(0.0), 1)
        scaled.unscale(optimizer)
        scaled.step(optimizer)
        return {**told, "overflowed": both.tolist(), "scale": scaled.scaler.get_scale()}


def act(name: str, command: str) -> dict[str, object]:
    """Run a command of maquette; its exit code, and what it said."""
    encoded, kept = [], (Encoders._encoded, Dataset._batch, session.Session._read, session.train)

    def counted(self: Encoders, *args: object) -> object:
        encoded.append(args)
        return kept[0](self, *args)

    Encoders._encoded = counted
    spoil(name)
    said = StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(said):
            code = main([part.replace("{rank}", str(RANK)) for part in shlex.split(command)])
    finally:
        Encoders._encoded, Dataset._batch, session.Session._read, session.train = kept
    return {"code": code, "said": said.getvalue(), "encoded": len(encoded)}


if __name__ == "__main__":
    work = Path(sys.argv[1])
    results = {name: act(name, command) for name, command in json.loads((work / "scenarios.json").read_text()).items()}
    (work / f"results-{RANK}.json").write_text(json.dumps({**results, "sums": sums()}))
