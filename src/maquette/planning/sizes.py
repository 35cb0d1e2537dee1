"""How many bytes a run will hold and write."""

from collections.abc import Mapping, Sequence
from typing import assert_never

from torch import Tensor

from maquette.adapters.base import ParamGroup
from maquette.config.adapter import DoraConfig, FullConfig, LoraConfig
from maquette.config.optimization import (
    AdafactorConfig,
    AdamW8bitConfig,
    AdamWConfig,
    LionConfig,
    OptimizerConfig,
    ProdigyConfig,
    ScheduleFreeConfig,
)
from maquette.config.schema import RunConfig
from maquette.training.optim import SMALLEST_8BIT

FP32 = 4
WIDTH = {"fp32": 4, "fp16": 2, "bf16": 2}

ENTRY = 400
"""Bytes of a cached entry beside its numbers: the file's header, and a hash."""

PIXEL = 1.7
"""Bytes of a pixel in a PNG of a photograph-like picture. Source: measured on previews of the embedded base."""


def optimizer_bytes(config: OptimizerConfig, groups: Sequence[ParamGroup]) -> int:
    """What an optimizer remembers of its parameters once it has made a step."""
    return sum(_moments(config, param) for group in groups for param in group.params)


def _moments(config: OptimizerConfig, param: Tensor) -> int:
    match config:
        case AdamWConfig() | ScheduleFreeConfig():
            return 2 * FP32 * param.numel()
        case ProdigyConfig():
            return 4 * FP32 * param.numel()
        case LionConfig():
            return FP32 * param.numel()
        case AdamW8bitConfig():
            return 2 * param.numel() * (1 if param.numel() >= SMALLEST_8BIT else FP32)
        case AdafactorConfig():
            if param.ndim < 2:
                return FP32 * param.numel()
            return FP32 * (param.numel() // param.shape[-1] + param.numel() // param.shape[-2])
        case _:
            assert_never(config)


def parameter_bytes(groups: Sequence[ParamGroup]) -> int:
    """What is trained, in fp32."""
    return FP32 * sum(param.numel() for group in groups for param in group.params)


def cache_bytes(entries: Sequence[tuple[int, int]]) -> int:
    """Files of encoded pictures and captions. entries: how many there are of each kind, and the bytes of one."""
    return sum(count * (each + ENTRY) for count, each in entries)


def disk_bytes(
    config: RunConfig, groups: Sequence[ParamGroup], start: int, cached: int, model: int, pixels: int, num_prompts: int
) -> Mapping[str, int]:
    """What a run writes, by what it is for. ``config`` is resolved.

    start: bytes that checkpoints and exports hold beside what is trained (``StartCosts.kept``). model: parameters of
    all of the base, which a full fine-tune exports. pixels: of one preview.
    """
    steps = config.training.steps
    assert steps != "auto"
    trained, ema = parameter_bytes(groups), config.training.ema is not None
    saved = times(config.checkpoints.every, steps)
    moments, kept = optimizer_bytes(config.optimizer, groups), min(config.checkpoints.keep, saved)
    checkpoints = kept * (trained + start + moments + (trained if ema else 0))
    checkpoints -= moments if kept == saved else 0  # the first is written before the optimizer has any
    width, adapter = WIDTH[config.output.precision], config.adapter
    if isinstance(adapter, FullConfig):
        exports = model * width * (2 if config.output.single_file else 1) * (2 if ema else 1)
    else:
        dialects = 2 if isinstance(adapter, LoraConfig | DoraConfig) else 1
        exports = (trained + start) // FP32 * width * (dialects * (2 if ema else 1) + saved - 1)
    shown = times(config.preview.every, steps) * config.preview.num * num_prompts
    return {
        "cache": cached,
        "checkpoints": checkpoints,
        "exports": exports,
        "previews": round(shown * pixels * PIXEL),
    }


def times(every: int, steps: int) -> int:
    """How often something is done that is due every so many steps, at step 0 and at the end; 0 is never."""
    return 0 if every == 0 else steps // every + 1 + (steps % every > 0)
