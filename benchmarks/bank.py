"""What K concepts cost in a bank and in runs of their own: python -m benchmarks.bank [--concepts 8] [--dtype bf16]

A UNet of Stable Diffusion 1.5's shape with random weights, LoRA of rank 16 on its attention, one picture of each
concept in a step (512x512, or what --resolution says): noise, forward, backward and AdamW, by the training loop. A run
of its own is one concept's step; a bank's step trains all K. Both take turns. Prints the median seconds of a step, of
the processor on a CPU so that other work does not count, and what the bank's costs of K steps (bar: 0.75 in bf16 at
K = 8). --tiny takes a small UNet and says nothing about the bar: it shows that this works.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch
from diffusers import UNet2DConditionModel
from rich.console import Console
from torch import nn

from maquette.adapters.attach import attach
from maquette.adapters.base import Trainable
from maquette.config.schema import RunConfig
from maquette.training.loop import Progress, train
from maquette.training.optim import build_optimizer
from maquette.training.runtime import Runtime
from maquette.training.seeds import rng_at
from maquette.types import Conditioning, ImageCode, TrainBatch

BAR = 0.75
SD15 = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
TINY = {
    "sample_size": 16,
    "block_out_channels": (32, 64, 64, 64),
    "cross_attention_dim": 64,
    "attention_head_dim": 8,
}


class Denoiser:
    """As much of a family as adapters and the loss need: a denoiser alone."""

    name = "sd"

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self.unet = unet
        self.modules: dict[str, nn.Module] = {"denoiser": unet}

    def predict(self, x: torch.Tensor, t: torch.Tensor, cond: Conditioning) -> torch.Tensor:
        """The UNet's output."""
        dtype = self.unet.dtype
        return self.unet(x.to(dtype), t, encoder_hidden_states=cond["context"].to(dtype)).sample


def configured(concepts: int) -> RunConfig:
    """A bank of so many concepts, or one run for a single one."""
    named = [{"folder": f"{i}", "trigger": f"concept {i}"} for i in range(concepts)]
    adapter = {"kind": "lora", "rank": 16, "bank": concepts > 1}
    return RunConfig.model_validate({"data": {"buckets": False}, "concepts": named, "adapter": adapter})


@contextmanager
def attached(unet: UNet2DConditionModel, concepts: int) -> Iterator[Trainable]:
    """The UNet with its adapters, until the block is left."""
    before = dict(unet.named_modules())
    config = configured(concepts)
    family = Denoiser(unet)
    yield attach(config, family, steps=1, weight_decay=0.01, rng=rng_at(0, 0))
    for path, module in list(unet.named_modules()):
        if path in before and before[path] is not module:
            unet.set_submodule(path, before[path])


def seconds(unet: UNet2DConditionModel, concepts: int, size: int, repeats: int, runtime: Runtime) -> list[float]:
    """The seconds of steps that train so many concepts, one picture each. size: of a side, in latent positions."""
    device, width = runtime.device, unet.config.cross_attention_dim
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    code = ImageCode(torch.randn(concepts, 4, size, size, device=device), None, {})
    cond = {"context": torch.randn(concepts, 77, width, device=device)}
    batch = TrainBatch(code, {}, torch.ones(concepts, device=device), torch.arange(concepts, device=device))
    denoiser = Denoiser(unet)

    def objective(one: TrainBatch, rng: torch.Generator) -> torch.Tensor:
        eps = torch.randn(one.code.mean.shape, generator=rng).to(one.code.mean)
        t = torch.full((len(one.weight),), 500.0, device=device)
        output = denoiser.predict(one.code.mean + eps, t, cond)
        return (output.float() - eps).square().flatten(1).mean(1)

    with attached(unet, concepts) as trainable:
        stream = train(
            trainable,
            objective,
            lambda _: [batch],
            build_optimizer(configured(concepts).optimizer, trainable.groups),
            lambda _: 1.0,
            Progress(),
            steps=repeats + 1,
            rng_at=lambda step, micro: rng_at(0, step, micro),
            max_grad_norm=1.0,
            runtime=runtime,
        )
        taken = []
        next(stream)  # the first step allocates
        for _ in range(repeats):
            begun = clock()
            float(next(stream).loss)
            taken.append(clock() - begun)
    return taken


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description="What K concepts cost in a bank and in runs of their own.")
    parser.add_argument("--concepts", type=int, default=8)
    parser.add_argument("--resolution", type=int, default=512, help="pixels of a side")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    parser.add_argument("--repeats", type=int, default=1, help="measured steps in a turn, after one that is not")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    device = torch.device(options.device)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[options.dtype]
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**(TINY if options.tiny else SD15)).eval()
    nn.Module.to(unet, device, dtype)  # diffusers' own warns of layers to keep in fp32 where there are none
    size = unet.config.sample_size if options.tiny else options.resolution // 8
    runtime = Runtime(device, dtype)
    counts = (1, options.concepts)
    taken: dict[int, list[float]] = {concepts: [] for concepts in counts}
    for _ in range(options.rounds):
        for concepts in counts:
            taken[concepts] += seconds(unet, concepts, size, options.repeats, runtime)
    alone, together = (median(taken[concepts]) for concepts in counts)
    share = together / (options.concepts * alone)
    Console().print(
        f"one concept: {alone:.3f} s a step; a bank of {options.concepts}: {together:.3f} s; that is {share:.2f} of "
        f"{options.concepts} runs" + ("" if options.tiny else f" (bar {BAR})") + f", in {options.dtype}."
    )


if __name__ == "__main__":
    main()
