"""A run's base and what it would train, as shapes alone."""

from dataclasses import dataclass

import torch
from torch import nn

from maquette.config.adapter import FullConfig
from maquette.config.schema import RunConfig
from maquette.families.base import Family
from maquette.families.load import BESIDE, load_shapes
from maquette.families.placement import choose_dtype
from maquette.families.quantized import num_parameters
from maquette.training.opening import with_tokens

META = torch.device("meta")

CODE_BYTES = {"int8": 1.0, "nf4": 0.5 + 4 / 64}
"""Bytes of one weight of a quantized layer; nf4 has a scale for every 64 of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Blank:
    """A base on the meta device.

    held: the dtype of its frozen weights. beside: of those of another half that stands beside it; None without one.
    compute: of matrix products.
    """

    family: Family
    held: torch.dtype
    beside: torch.dtype | None
    compute: torch.dtype


def blank_base(config: RunConfig, device: torch.device) -> Blank:
    """The base of a run with its true configs, vocabularies and dtypes, and no weights.

    device: where the run would be, which decides precision = "auto". Raises as loading does.
    """
    family = load_shapes(config.model)
    denoiser = family.modules["denoiser"]
    compute = choose_dtype(config.model.precision, device, num_parameters(denoiser))
    held = torch.float32 if isinstance(config.adapter, FullConfig) else compute
    others = [name for name in BESIDE.get(family.name, ()) if name in family.modules]
    beside = choose_dtype(config.model.precision, device, num_parameters(family.modules[others[0]])) if others else None
    for name, module in family.modules.items():
        if name != "vae" or not getattr(module, "config", {}).get("force_upcast"):
            nn.Module.to(module, dtype=beside if name in others else held)
    return Blank(with_tokens(config, family), held, beside, compute)


def frozen_bytes(config: RunConfig, blank: Blank) -> dict[str, int]:
    """Bytes of each module's weights that are not trained, by the module's name."""
    return {name: _frozen_bytes(module, config if name == "denoiser" else None) for name, module in _modules(blank)}


def _modules(blank: Blank) -> list[tuple[str, nn.Module]]:
    return list(blank.family.modules.items())


def _frozen_bytes(module: nn.Module, config: RunConfig | None) -> int:
    frozen = sum(param.nbytes for param in module.parameters() if not param.requires_grad)
    kind = "none" if config is None else config.model.quantize
    if kind == "none":
        return frozen
    coded = [layer.weight for layer in module.modules() if type(layer) is nn.Linear and not layer.weight.requires_grad]
    return frozen - round(sum(weight.nbytes - weight.numel() * CODE_BYTES[kind] for weight in coded))
