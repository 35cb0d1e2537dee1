"""How near `maquette plan` comes: planned and measured seconds of one step, in processor time of this thread.

    OMP_NUM_THREADS=1 python benchmarks/plan_against_steps.py

Processor time, so that other work on the machine does not count; one thread, so that it is what one quiet core takes.
"""

import json
import time
from collections.abc import Callable
from importlib.resources import files

import torch

from maquette.adapters.attach import denoiser_parts
from maquette.adapters.base import ParamGroup
from maquette.config.adapter import LoraConfig
from maquette.families.load import EMBEDDED
from maquette.families.parts import blank_unet
from maquette.planning.costs import counting, measured


def step_of(config: dict, side: int, rows: int, dtype: torch.dtype, device: str) -> Callable[[], None]:
    """Forward and backward of a denoiser of random weights with a LoRA of rank 4."""
    unet = blank_unet(config, "benchmark")
    unet = unet.to("meta") if device == "meta" else unet.to_empty(device=device)
    if device != "meta":
        for param in unet.parameters():
            torch.nn.init.normal_(param, std=0.02)
    torch.nn.Module.to(unet, dtype=dtype).requires_grad_(requires_grad=False)
    [part] = denoiser_parts(LoraConfig(rank=4), unet, ParamGroup("denoiser", (), 1e-4), torch.Generator())
    if device == "meta":
        for param in (param for group in part.groups for param in group.params):
            param.data = param.data.to(dtype)
    x = torch.randn(rows, config["in_channels"], side, side).to(device, dtype)
    context = torch.randn(rows, 77, config["cross_attention_dim"]).to(device, dtype)
    t = torch.full((rows,), 500.0).to(device)
    casts = device != "meta" and dtype != torch.float32

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=casts):
            output = unet(x, t, encoder_hidden_states=context).sample
        output.float().square().mean().backward()

    return step


def compare(title: str, config: dict, side: int, rows: int, dtype: torch.dtype, rounds: int) -> None:
    """Print one row of the table in docs/scale.md."""
    with counting() as costs:
        step_of(config, side, rows, dtype, "meta")()
    step = step_of(config, side, rows, dtype, "cpu")
    step()
    begun = time.process_time()
    for _ in range(rounds):
        step()
    real = (time.process_time() - begun) / rounds
    planned = measured(torch.device("cpu"), dtype).seconds(costs)
    print(f"| {title} | {costs.flops / 1e9:.1f} GFLOP | {real:.3f} | {planned:.3f} |")  # noqa: T201


if __name__ == "__main__":
    time.perf_counter = time.process_time  # what `measured` reads
    small = json.loads((EMBEDDED["maquette-64"] / "unet" / "config.json").read_text())
    large = json.loads((files("maquette.families") / "configs" / "sd1.json").read_text())["unet"]
    for rows in (1, 4):
        compare(f"embedded base, batch {rows}, fp32", small, small["sample_size"], rows, torch.float32, 8)
    for dtype in (torch.float32, torch.bfloat16):
        compare(f"Stable Diffusion 1's UNet at 256 px, {dtype}", large, 32, 1, dtype, 1)
