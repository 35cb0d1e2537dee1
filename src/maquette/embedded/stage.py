"""One part of pretraining: the project's loop with a cosine schedule and a file to go on from."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from maquette.adapters.base import Trainable
from maquette.training.loop import Progress, StepStats, Weighted, train
from maquette.training.objective import Objective
from maquette.training.seeds import rng_at

B = TypeVar("B", bound=Weighted)

SAVE_EVERY = 200
WARMUP = 100


def run_stage(
    file: Path,
    trainable: Trainable,
    objective: Objective[B],
    batches_at: Callable[[int], Sequence[B]],
    *,
    steps: int,
    seed: int,
) -> Iterator[StepStats]:
    """Train to ``steps``, from where ``file`` stands if it exists; save there every 200 steps and at the end.

    The rate rises over 100 steps and falls to 0 along a cosine.
    """
    optimizer = torch.optim.AdamW(
        [{"params": g.params, "weight_decay": g.weight_decay} for g in trainable.groups], fused=True
    )
    progress = Progress()
    before = 0.0
    if file.exists():
        progress.step, before = _restore(file, trainable, optimizer)
    started = time.monotonic() - before
    run = train(
        trainable,
        objective,
        batches_at,
        optimizer,
        lambda step: min(1, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / steps)),
        progress,
        steps=steps,
        rng_at=lambda step, micro: rng_at(seed, step, micro),
        max_grad_norm=1.0,
    )
    for stats in run:
        if stats.step % SAVE_EVERY == 0 or stats.step == steps:
            _save(file, trainable, optimizer, stats.step, time.monotonic() - started)
        yield stats


def _save(file: Path, trainable: Trainable, optimizer: torch.optim.Optimizer, step: int, seconds: float) -> None:
    tensors = {f"weights/{name}": value.detach().contiguous() for name, value in trainable.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value.contiguous() for name, value in state.items()}
    temporary = file.with_suffix(".partial")
    save_file(tensors, temporary, {"step": str(step), "seconds": f"{seconds:.0f}"})
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    temporary.replace(file)


def _restore(file: Path, trainable: Trainable, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    state: dict[int, dict[str, torch.Tensor]] = {}
    with safe_open(file, "pt") as saved:
        names = list(saved.keys())
        trainable.load_state_dict(
            {n.removeprefix("weights/"): saved.get_tensor(n) for n in names if n.startswith("weights/")}
        )
        for name in names:
            if name.startswith("optimizer/"):
                _, index, key = name.split("/")
                state.setdefault(int(index), {})[key] = saved.get_tensor(name)
        metadata = saved.metadata()
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return int(metadata["step"]), float(metadata.get("seconds", 0))
