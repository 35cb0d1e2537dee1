"""The flags --adapter and --scale, as every command that uses adapters has them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from maquette.errors import ConfigError

Adapters = Annotated[
    list[Path] | None, typer.Option("--adapter", help="A run's folder, an adapter or an embedding file; repeatable.")
]
Scales = Annotated[
    list[float] | None, typer.Option("--scale", help="How strongly each --adapter is used, in their order. Default 1.")
]


def with_strengths(adapters: Sequence[Path], scales: Sequence[float]) -> list[tuple[Path, float]]:
    """Each adapter with its strength, which is 1 where no --scale is given.

    Raises ConfigError where there are neither as many scales as adapters nor none, or one is no finite number.
    """
    strengths = scales or [1.0] * len(adapters)
    if len(strengths) != len(adapters):
        raise ConfigError(f"--scale is given {len(scales)} times for {len(adapters)} --adapter; give one for each.")
    if odd := [scale for scale in strengths if not math.isfinite(scale)]:
        raise ConfigError(f"--scale {odd[0]}: must be a finite number; 1 is as trained, 0 switches an adapter off.")
    return list(zip(adapters, strengths, strict=True))
