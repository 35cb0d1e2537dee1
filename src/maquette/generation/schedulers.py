"""The samplers by the names that people use, each a scheduler made from the checkpoint's own config."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import diffusers
from diffusers.configuration_utils import ConfigMixin

from maquette.errors import ConfigError
from maquette.generation.heun import EDMHeunScheduler

SCHEDULERS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "dpm++": ("DPMSolverMultistepScheduler", {}),
    "dpm++karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpm++sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}
"""Name -> diffusers class and the settings that differ from the checkpoint's, for checkpoints with a table of betas."""

EDM_SCHEDULERS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "edm": ("EDMEulerScheduler", {}),
    "edm_dpm++": ("EDMDPMSolverMultistepScheduler", {}),
    "edm_heun": ("EDMHeunScheduler", {}),
    "edm_heun_churn": ("EDMHeunScheduler", {"s_churn": 40.0, "s_min": 0.05, "s_max": 50.0, "s_noise": 1.003}),
}
"""The same for checkpoints with EDM preconditioning; EDMHeunScheduler is our own.

Source of the churn: Karras et al. 2022 (arXiv 2206.00364), table 5, for ImageNet.
"""

SCALING = ("euler", "euler_a", "heun")
"""Samplers that want the denoiser's input scaled, which not every pipeline does."""

LEARNED = ("learned", "learned_range")
"""Kinds of variance that the denoiser itself gives, in further channels; only DDPM's sampler knows what to do with."""

DEFAULT = "dpm++"


def with_scheduler(config: Mapping[str, object], name: str | None, *, scales_input: bool = True) -> ConfigMixin:
    """The sampler of a name, over the noise that a scheduler config describes.

    name: a key of the table that fits the checkpoint; None is "dpm++", or the checkpoint's own sampler where that is
    not a table of betas. scales_input: whether the pipeline lets it scale the denoiser's input.
    Raises ConfigError for a name that does not fit, with those that do.
    """
    own = str(config["_class_name"])
    if own.startswith("FlowMatch"):
        table: Mapping[str, tuple[str, Mapping[str, object]]] = {}
    else:
        table = EDM_SCHEDULERS if own.startswith("EDM") else SCHEDULERS
    if not scales_input:
        table = {known: sampler for known, sampler in table.items() if known not in SCALING}
    if name is None:
        class_name, settings = table.get(DEFAULT, (own, {}))
    elif name in table:
        class_name, settings = table[name]
    else:
        raise ConfigError(_no_such(name, list(table)))
    if class_name != "DDPMScheduler" and config.get("variance_type") in LEARNED:
        config = {key: value for key, value in config.items() if key != "variance_type"}
    spacing = {"timestep_spacing": "trailing"} if config.get("rescale_betas_zero_snr") else {}
    # Any: diffusers' annotations do not say what schedulers have in common.
    kind: Any = EDMHeunScheduler if class_name == EDMHeunScheduler.__name__ else getattr(diffusers, class_name)
    # As arguments: diffusers drops what a config notes as unset, whatever its value.
    return kind.from_config(dict(config), **settings, **spacing)


def _no_such(name: str, known: list[str]) -> str:
    if not known:
        return f'scheduler "{name}": this base has a sampler of its own and works with no other. Leave it out.'
    near = get_close_matches(name, known, 1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    return f'scheduler "{name}" does not fit this base.{hint} Those that do: {", ".join(known)}.'
