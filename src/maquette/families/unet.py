"""What the families read off a UNet and a scheduler."""

import math
from typing import cast

from diffusers.configuration_utils import ConfigMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


def size_multiple(unet: UNet2DConditionModel, latent_factor: int) -> int:
    """Pixels that become one position at the UNet's lowest level, in each direction; never below the pipelines' 8."""
    return math.lcm(8, latent_factor * 2 ** (len(unet.config["block_out_channels"]) - 1))


def default_size(unet: UNet2DConditionModel, latent_factor: int) -> tuple[int, int]:
    """(height, width) in pixels that the UNet's config says it was trained at."""
    size = unet.config["sample_size"]
    height, width = (size, size) if isinstance(size, int) else size
    return height * latent_factor, width * latent_factor


def sampler_config(scheduler: ConfigMixin) -> dict[str, object]:
    """What a saved scheduler_config.json would say, the class above all: a new scheduler's own config leaves it out."""
    return {**scheduler.config, "_class_name": type(scheduler).__name__}


def pipeline_scheduler(scheduler: ConfigMixin) -> ConfigMixin:
    """A copy for a pipeline, which keeps the state of sampling in it.

    The pipelines of Stable Diffusion insist on steps_offset = 1 and clip_sample = False, and change other configs with
    a warning; the copy has them from the start.
    """
    config = sampler_config(scheduler)
    insisted = {key: value for key, value in (("steps_offset", 1), ("clip_sample", False)) if key in config}
    # As arguments: diffusers drops what a config notes as unset, whatever its value.
    return cast(ConfigMixin, type(scheduler).from_config(config, **insisted))
