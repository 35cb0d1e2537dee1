"""Where a bare step's time goes: python -m benchmarks.speed.shares [--size small|sd15] [--keep FOLDER] [--steps N]

By torch's profiler, each operation's own time without what it calls. Other work on the machine stretches all of them.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile

from benchmarks.speed.__main__ import base_for
from benchmarks.speed.arms import SETTINGS, Arm
from benchmarks.speed.worker import bare_step

PARTS = {
    "convolutions": ("conv",),
    "attention": ("scaled_dot_product",),
    "matrix products": ("::mm", "::addmm", "::bmm", "::baddbmm", "::linear"),
    "normalisation and activations": ("norm", "silu", "gelu", "sigmoid"),
    "optimiser": ("adamw", "AdamW", "_foreach", "Optimizer"),
    "copies and casts": ("::copy_", "::cat", "::clone", "::fill_", "::zero_", "::contiguous"),
    "sums, products and quotients": ("::add", "::mul", "::div", "::sum", "::sub", "::pow"),
}
"""What names of operations hold, by the part they are counted to: the first that fits. The rest is code around them."""

PRODUCTS = ("::mm", "::addmm", "::copy_", "::t", "::transpose")
"""What adapters do; theirs are those with a side of the rank."""


def part_of(event: FunctionEventAvg, rank: int) -> str:
    """The part of a step that an operation is counted to."""
    matrices: Sequence[Sequence[int]] = [shape for shape in event.input_shapes or () if len(shape) == 2]
    if event.key.endswith(PRODUCTS) and any(rank in shape for shape in matrices):
        return "adapters' products"
    fitting = (part for part, names in PARTS.items() if any(name in event.key for name in names))
    return next(fitting, "views and the code around")


def main() -> None:
    """Profile, and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=[*SETTINGS], default="small")
    parser.add_argument("--keep", type=Path, help="folder to keep the random base in, and to find it again")
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        base = base_for("loop", options.size, options.keep or Path(temporary))
        setting = replace(SETTINGS[options.size], base=str(base), pictures=temporary)
        step = bare_step(setting.spec(Arm("bare step", "bare"), Path(temporary)))
        for _ in range(2):
            step()
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as record:
            for _ in range(options.steps):
                step()
    spent: defaultdict[str, float] = defaultdict(float)
    for event in record.key_averages(group_by_input_shape=True):
        spent[part_of(event, setting.rank)] += event.self_cpu_time_total
    total = sum(spent.values())
    rows = [f"| {part} | {time / total:.1%} |" for part, time in sorted(spent.items(), key=lambda row: -row[1])]
    Console().print("\n".join(["| part of a step | share |", "| --- | ---: |", *rows]), soft_wrap=True)


if __name__ == "__main__":
    main()
