"""The process of one arm: it trains, and after every turn waits to be told to go on.

Every arm is measured by the same hook, which torch calls after each step of any optimizer, so nothing in the public
example or in the session is changed for it.
"""

import json
import os
import resource
import runpy
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.speed.arms import PROMPT
from benchmarks.speed.transforms import stand_in
from maquette.adapters.attach import attach
from maquette.config.load import load_config
from maquette.config.schema import RunConfig, resolved
from maquette.families.allocation import keep_freed_memory
from maquette.families.load import load_family
from maquette.families.packed import packing
from maquette.families.placement import choose_device, choose_dtype
from maquette.families.quantized import num_parameters
from maquette.training.optim import build_optimizer
from maquette.training.prepare import packs_weights
from maquette.training.runtime import Runtime
from maquette.training.seeds import rng_at
from maquette.training.session import run

ENDLESS = 1_000_000
"""Steps that every arm is asked for; it is stopped long before."""


class Turns:
    """Counts steps, and hands the turn over after each ``steps`` of them: "ready" after the first, then a record."""

    def __init__(self, steps: int, to_parent: IO[str]) -> None:
        self.steps, self.done, self.to_parent = steps, -1, to_parent
        self.wall = self.processor = 0.0

    def __call__(self, *_: object) -> None:
        """One more step is done."""
        self.done += 1
        if self.done % self.steps:
            return
        wall, processor = time.perf_counter() - self.wall, time.process_time() - self.processor
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        record = {"wall": wall / self.steps, "processor": processor / self.steps, "peak": peak}
        print(json.dumps(record if self.done else "ready"), file=self.to_parent, flush=True)
        if sys.stdin.readline() != "go\n":
            os._exit(0)  # at once: what the arm would still write is nobody's
        self.wall, self.processor = time.perf_counter(), time.process_time()


def settings(spec: dict) -> RunConfig:
    """The run of an arm: nothing but steps. What a run does beside them has a rhythm that its user sets."""
    sets = {
        "model.base": spec["base"],
        "model.precision": spec["precision"],
        "adapter.kind": spec["adapter"],
        "adapter.rank": spec["rank"],
        "adapter.targets": "attention",
        "data.prompt": PROMPT,
        "data.folder": spec["pictures"],
        "data.resolution": spec["resolution"],
        "training.batch_size": spec["batch"],
        "training.steps": ENDLESS,
        "checkpoints.every": ENDLESS,
        "preview.every": 0,
        "logging.trackers": [],
    }
    return load_config(sets=[f"{key}={json.dumps(value)}" for key, value in sets.items()])


def bare(spec: dict) -> None:
    """One bare step after the other."""
    step = bare_step(spec)
    while True:
        step()


def bare_step(spec: dict) -> Callable[[], None]:
    """Frozen UNet and adapter on fixed tensors: forward, backward, AdamW, and nothing else."""
    config = resolved(settings(spec), pictures=1)
    device = choose_device("auto")
    family = load_family(spec["base"], device=str(device), precision=spec["precision"])
    with torch.no_grad():
        cond = family.embed_text(
            {name: ids.to(device) for name, ids in family.tokenize([PROMPT] * spec["batch"]).items()}
        )
    runtime = Runtime(device, choose_dtype(spec["precision"], device, num_parameters(family.modules["denoiser"])))
    trainable = attach(config, family, steps=ENDLESS, weight_decay=config.optimizer.weight_decay, rng=rng_at(0, 0))
    optimizer = build_optimizer(config.optimizer, trainable.groups)
    side = spec["resolution"] // family.latent_factor
    channels = family.pipeline().unet.config["in_channels"]
    x, target = torch.randn(2, spec["batch"], channels, side, side, device=device)
    t = torch.linspace(0, 900, spec["batch"], device=device).round()
    if spec["packs"] and packs_weights(config, device, runtime.compute):
        runtime = replace(runtime, passes=packing(family.modules["denoiser"], runtime.compute))
    if spec["keeps_memory"]:
        keep_freed_memory(device)

    def step() -> None:
        with runtime.passes():
            with runtime.forward():
                loss = (family.predict(x, t, cond).float() - target).square().mean()
            loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def maquette(spec: dict) -> None:
    """`maquette train`, from its configuration on."""
    run(settings(spec), out=Path(spec["out"]))


def example(spec: dict) -> None:
    """The public script, unchanged, with its own defaults but for what the arms have in common."""
    stand_in()
    flags = {
        "pretrained_model_name_or_path": spec["base"],
        "instance_data_dir": spec["pictures"],
        "instance_prompt": PROMPT,
        "resolution": spec["resolution"],
        "train_batch_size": spec["batch"],
        "rank": spec["rank"],
        "learning_rate": 1e-4,
        "lr_warmup_steps": 0,
        "max_train_steps": ENDLESS,
        "checkpointing_steps": ENDLESS,
        "seed": 0,
        "mixed_precision": "bf16" if spec["precision"] == "bf16" else "no",
        "output_dir": spec["out"],
    }
    script = Path(spec["example"])
    sys.argv = [str(script), *(part for name, value in flags.items() for part in (f"--{name}", str(value)))]
    runpy.run_path(str(script), run_name="__main__")


def main() -> None:
    """Train as the JSON in the first argument says; stdout is for the parent alone."""
    to_parent = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    spec = json.loads(sys.argv[1])
    register_optimizer_step_post_hook(Turns(spec["turn"], to_parent))
    kinds: dict[str, Callable[[dict], None]] = {"bare": bare, "maquette": maquette, "example": example}
    kinds[spec["kind"]](spec)


if __name__ == "__main__":
    main()
