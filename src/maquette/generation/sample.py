"""From a prompt and a seed to a picture, always by the same path."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.pipeline_utils import DiffusionPipeline, ImagePipelineOutput
from jaxtyping import Float, UInt8
from torch import Tensor

from maquette.config.words import written_out
from maquette.errors import ConfigError
from maquette.families.base import Family
from maquette.families.vae import decode
from maquette.generation.schedulers import with_scheduler

Picture = UInt8[Tensor, "3 h w"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One picture that is asked for: everything that decides its bytes, but the weights.

    size: (height, width) in pixels; None is what the base was trained at. scheduler: see ``SCHEDULERS``.
    """

    prompt: str
    seed: int
    negative: str = ""
    steps: int = 25
    guidance: float = 7.5
    scheduler: str | None = None
    size: tuple[int, int] | None = None


def check_request(family: Family, request: Request) -> None:
    """Raise ConfigError for what this family cannot make, before anything is computed.

    What the text encoder will not read of a long prompt is reported.
    """
    height, width = request.size or family.default_size
    multiple = family.size_multiple
    if height % multiple or width % multiple or min(height, width) < multiple:
        near = [max(multiple, round(side / multiple) * multiple) for side in (height, width)]
        raise ConfigError(
            f"size {height}x{width} (height x width): this base makes sides that are multiples of {multiple}. "
            f"Nearest: {near[0]}x{near[1]}."
        )
    if request.steps < 1:
        raise ConfigError(f"steps = {request.steps}: at least 1 sampling step is needed.")
    if request.guidance < 1:
        raise ConfigError(f"guidance = {request.guidance:g}: must be 1 (off) or more; 5 to 8 is usual.")
    with_scheduler(scheduler_config(family.pipeline()), request.scheduler)
    family.tokenize([request.prompt, request.negative])


@contextmanager
def painter(family: Family) -> Generator[Callable[[Request], Picture]]:
    """Inside, a function that makes pictures with the family as it is now, adapters and all.

    One picture a forward pass: a picture of a batch differs from the same picture alone. Its first noise comes from a
    CPU generator, so that the device does not decide it. A picture with a number that is not finite is black.
    """
    pipeline = family.pipeline()
    described = scheduler_config(pipeline)
    # diffusers declares neither the parameters nor the results of pipelines where all of them meet.
    run = cast(Callable[..., ImagePipelineOutput], pipeline)
    pipeline.set_progress_bar_config(disable=True)
    vae = cast(AutoencoderKL, family.modules["vae"])
    training = [module for module in family.modules.values() if module.training]

    @torch.no_grad()
    def paint(request: Request) -> Picture:
        height, width = request.size or family.default_size
        pipeline.register_modules(scheduler=with_scheduler(described, request.scheduler))
        latents = run(
            prompt=written_out(request.prompt, family.words),
            # None rather than "": some checkpoints (SDXL) mean zeros by no negative prompt.
            negative_prompt=written_out(request.negative, family.words) or None,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            height=height,
            width=width,
            generator=torch.Generator().manual_seed(request.seed),
            output_type="latent",  # pipelines cannot decode with an autoencoder of another precision than the rest
            clip_skip=family.clip_skip or None,
        ).images
        return to_picture(decode(vae, cast(Tensor, latents))[0])

    for module in training:
        module.eval()
    try:
        yield paint
    finally:
        for module in training:
            module.train()


def to_picture(pixels: Float[Tensor, "3 h w"]) -> Picture:
    """Pixels in [-1, 1] as 8 bits; black throughout where one of them is not finite, so that nobody overlooks it."""
    if not torch.isfinite(pixels).all():
        pixels = torch.full_like(pixels, -1)
    return ((pixels * 0.5 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def scheduler_config(pipeline: DiffusionPipeline) -> Mapping[str, object]:
    """The config of a pipeline's sampler, which says how the checkpoint was noised."""
    return pipeline.components["scheduler"].config


def is_black(picture: Picture) -> bool:
    """Whether a picture is one flat black: what numbers that are not finite, or a safety filter, leave behind."""
    return int(picture.max()) <= 1
