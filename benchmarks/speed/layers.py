"""Convolutions with plain and with packed weights: python -m benchmarks.speed.layers [--seconds S]

Forward and the gradient to the input of 3x3 convolutions, in turns, in processor seconds of this thread; what is
printed is how many times as long the plain ones take. It is what `families.packed` takes its limits from.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from rich.console import Console
from torch import nn

from maquette.families.allocation import keep_freed_memory
from maquette.families.packed import Packed

SHAPES = ((1, 4, 4), (1, 8, 8), (4, 8, 8), (1, 16, 16), (4, 16, 16), (1, 32, 32))
CHANNELS = ((64, 64), (192, 192), (384, 384), (320, 320), (640, 640), (1280, 1280), (2560, 1280))


def ratio(layer: nn.Conv2d, shape: tuple[int, int, int], seconds: float) -> float:
    """How many times as long the plain layer takes for a batch of one shape."""
    dtype, (n, h, w) = layer.weight.dtype, shape
    x = torch.randn(n, layer.in_channels, h, w).to(dtype)
    grad = torch.randn(n, layer.out_channels, h, w).to(dtype)
    packed = Packed(layer, dtype)

    def plain_passes() -> None:
        layer(x)
        arguments = (layer.stride, layer.padding, layer.dilation, False, [0, 0], 1, [True, False, False])
        torch.ops.aten.convolution_backward(grad, x, layer.weight, [layer.out_channels], *arguments)

    def packed_passes() -> None:
        packed.forward(x)
        packed.backward(grad)

    plain_passes()
    packed_passes()
    rounds: list[tuple[float, float]] = []
    while len(rounds) < 4 or sum(map(sum, rounds)) < seconds:
        rounds.append((spent(plain_passes), spent(packed_passes)))
    plain, ours = zip(*rounds, strict=True)
    return median(plain) / median(ours)


def spent(act: Callable[[], None]) -> float:
    """Processor seconds of an action."""
    begun = time.process_time()
    act()
    return time.process_time() - begun


@torch.no_grad()
def main() -> None:
    """Measure, and print a table for each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each cell")
    options = parser.parse_args()
    keep_freed_memory(torch.device("cpu"))  # as training does: a plain layer's reordered weight is a large block
    sizes = [f"{n} x {h} x {w}" for n, h, w in SHAPES]
    for dtype in (torch.float32, torch.bfloat16):
        lines = [[str(dtype).removeprefix("torch."), *sizes], ["---", *["---:"] * len(sizes)]]
        for inputs, outputs in CHANNELS:
            layer = nn.Conv2d(inputs, outputs, 3, padding=1).to(dtype)
            cells = [f"{ratio(layer, shape, options.seconds):.2f}" for shape in SHAPES]
            lines.append([f"{inputs} to {outputs}", *cells])
        Console().print("\n".join(f"| {' | '.join(line)} |" for line in lines), soft_wrap=True)


if __name__ == "__main__":
    main()
