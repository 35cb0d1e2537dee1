"""The optimizer of a run, from its configuration over the groups of what is trained, and its state as plain data."""

import importlib
import math
from collections.abc import Mapping, Sequence
from typing import assert_never

import torch
from torch import Tensor
from torch.optim import Optimizer

from maquette.adapters.base import ParamGroup
from maquette.config.optimization import (
    AdafactorConfig,
    AdamW8bitConfig,
    AdamWConfig,
    LionConfig,
    OptimizerConfig,
    ProdigyConfig,
    ScheduleFreeConfig,
)
from maquette.errors import CheckpointError, ConfigError, MissingDependencyError
from maquette.training.checkpoint import Json, Piece
from maquette.training.prodigy import Prodigy

SMALLEST_8BIT = 4096
"""Numbers in a tensor from which bitsandbytes keeps its moments in 8 bits; those of smaller ones stay in fp32.
Source: its min_8bit_size."""

Slots = list[dict[str, object]]


def build_optimizer(config: OptimizerConfig, groups: Sequence[ParamGroup]) -> Optimizer:
    """One optimizer over all groups, in their order; learning rate and weight decay are the groups', the rest config's.

    Raises ConfigError where the groups ask for what this optimizer cannot do, MissingDependencyError for an extra.
    """
    slots: Slots = [{"params": list(g.params), "lr": g.lr, "weight_decay": g.weight_decay} for g in groups]
    match config:
        case AdamWConfig(betas=betas, eps=eps):
            return torch.optim.AdamW(slots, betas=betas, eps=eps, fused=True)
        case AdamW8bitConfig():
            return _adamw8bit(config, slots, groups)
        case ProdigyConfig():
            return _prodigy(config, slots, groups)
        case ScheduleFreeConfig():
            return _schedule_free(config, slots)
        case AdafactorConfig():
            return _adafactor(config, slots)
        case LionConfig():
            return _lion(config, slots)
        case _:
            assert_never(config)


def _adamw8bit(config: AdamW8bitConfig, slots: Slots, groups: Sequence[ParamGroup]) -> Optimizer:
    cure = 'Install it with pip install "maquette[quant]", or choose optimizer.kind = "adamw".'
    try:
        bitsandbytes = importlib.import_module("bitsandbytes.optim")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f'optimizer.kind = "adamw8bit" needs bitsandbytes. {cure}') from error
    for device in {param.device for group in groups for param in group.params}:
        tried = torch.ones(SMALLEST_8BIT, device=device, requires_grad=True)
        tried.grad = torch.ones_like(tried)
        try:
            bitsandbytes.AdamW8bit([tried]).step()
        except (RuntimeError, NotImplementedError, AttributeError, ValueError) as error:
            raise ConfigError(
                f'optimizer.kind = "adamw8bit": bitsandbytes cannot do it on "{device}" ({error}). Choose '
                'optimizer.kind = "adamw", or train on a CUDA device.'
            ) from error
    return bitsandbytes.AdamW8bit(slots, betas=config.betas, eps=config.eps)


def _prodigy(config: ProdigyConfig, slots: Slots, groups: Sequence[ParamGroup]) -> Optimizer:
    if len({group.lr for group in groups}) > 1:
        rates = ", ".join(f"{group.name} {group.lr:g}" for group in groups)
        raise ConfigError(
            f"Prodigy finds one step size for everything, so all learning rates must be equal; they are {rates}. "
            "Leave text_encoder.lr (and every other rate of its own) unset, or choose another optimizer."
        )
    return Prodigy(
        slots,
        lr=config.lr,
        betas=config.betas,
        beta3=config.beta3,
        eps=config.eps,
        decouple=config.decouple,
        use_bias_correction=config.bias_correction,
        safeguard_warmup=config.safeguard_warmup,
        d0=config.d0,
        d_coef=config.d_coef,
    )


def _schedule_free(config: ScheduleFreeConfig, slots: Slots) -> Optimizer:
    if not 0 < config.betas[0] < 1:
        raise ConfigError(
            f"optimizer.betas: the first is {config.betas[0]:g}; schedule-free averaging needs one between 0 and 1. "
            "Its authors use 0.9."
        )
    try:
        from pytorch_optimizer import ScheduleFreeAdamW
    except ModuleNotFoundError as error:
        raise _needs_optim("schedule_free") from error
    return ScheduleFreeAdamW(slots, betas=config.betas, eps=config.eps)


def _adafactor(config: AdafactorConfig, slots: Slots) -> Optimizer:
    # torch's own Adafactor multiplies the rate by the weights' size, and so never leaves LoRA's zeros.
    from transformers.optimization import Adafactor

    return Adafactor(
        slots,
        lr=1.0,  # overridden by every group's own
        clip_threshold=config.clip,
        decay_rate=config.beta2_decay,
        scale_parameter=False,
        relative_step=False,
    )


def _lion(config: LionConfig, slots: Slots) -> Optimizer:
    try:
        from pytorch_optimizer import Lion
    except ModuleNotFoundError as error:
        raise _needs_optim("lion") from error
    return Lion(slots, betas=config.betas, weight_decouple=True)


def _needs_optim(kind: str) -> MissingDependencyError:
    return MissingDependencyError(
        f'optimizer.kind = "{kind}" needs pytorch-optimizer. Install it with pip install "maquette[optim]", '
        'or choose optimizer.kind = "adamw".'
    )


def pack_state(optimizer: Optimizer) -> Piece:
    """Everything that an optimizer remembers, as tensors by name and JSON; `unpack_state` gives it back to the bit."""
    tensors: dict[str, Tensor] = {}
    state = _encode(optimizer.state_dict(), "", tensors)
    return Piece(tensors, {"kind": type(optimizer).__name__, "state": state})


def unpack_state(optimizer: Optimizer, piece: Piece) -> None:
    """Give a freshly built optimizer what another remembered.

    Raises CheckpointError where that one was of another kind, or was over other groups.
    """
    values = piece.values
    if not isinstance(values, dict) or values.get("kind") != type(optimizer).__name__:
        kind = values.get("kind") if isinstance(values, dict) else values
        raise CheckpointError(
            f"The saved optimizer is {kind!r}, the run's is {type(optimizer).__name__!r}. "
            "Resume with the configuration it was saved under."
        )
    state = _decode(values["state"], piece.tensors)
    assert isinstance(state, dict)
    saved = [len(group["params"]) for group in state["param_groups"]]
    here = [len(group["params"]) for group in optimizer.param_groups]
    if saved != here:
        raise CheckpointError(
            f"The saved optimizer has groups of {saved} parameters, the run's of {here}. "
            "Resume with the configuration it was saved under."
        )
    optimizer.load_state_dict(state)
    for param, memory in optimizer.state.items():
        for name, value in memory.items():
            if isinstance(value, Tensor) and value.shape == param.shape and value.stride() != param.stride():
                # Files hold tensors in rows; fused steps walk parameter and moments in one order, that of the memory.
                memory[name] = torch.empty_like(param, dtype=value.dtype).copy_(value)


def _encode(value: object, path: str, tensors: dict[str, Tensor]) -> Json:
    """JSON for a tree: containers and what JSON lacks are tagged objects, tensors go to ``tensors`` by their path."""
    match value:
        case Tensor():
            tensors[path] = value
            return {"tensor": path}
        case Mapping():
            return {
                "map": [
                    [_plain(key), _encode(part, f"{path}/{key}".strip("/"), tensors)] for key, part in value.items()
                ]
            }
        case list() | tuple():
            parts: list[Json] = [_encode(part, f"{path}/{i}", tensors) for i, part in enumerate(value)]
            return {"tuple" if isinstance(value, tuple) else "list": parts}
        case float() if not math.isfinite(value):
            return {"float": repr(value)}
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise CheckpointError(f"The optimizer's {path} is a {type(value).__name__}, which no checkpoint can hold.")


def _plain(key: object) -> int | str:
    if isinstance(key, int | str):
        return key
    raise CheckpointError(f"The optimizer keeps state under {key!r}, which no checkpoint can hold.")


def _entry(entry: Json, tensors: Mapping[str, Tensor]) -> tuple[object, object]:
    assert isinstance(entry, list)
    return entry[0], _decode(entry[1], tensors)


def _decode(value: Json, tensors: Mapping[str, Tensor]) -> object:
    match value:
        case {"tensor": str(path)}:
            return tensors[path]
        case {"map": list(entries)}:
            return dict(_entry(entry, tensors) for entry in entries)
        case {"list": list(parts)}:
            return [_decode(part, tensors) for part in parts]
        case {"tuple": list(parts)}:
            return tuple(_decode(part, tensors) for part in parts)
        case {"float": str(number)}:
            return float(number)
        case _:
            return value
