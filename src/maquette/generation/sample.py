"""From a prompt and a seed to a picture, always by the same path."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from jaxtyping import Float, UInt8
from torch import Tensor

from maquette.errors import ConfigError, ModelError
from maquette.families.base import Family
from maquette.families.pictures import PRIOR_GUIDANCE, PRIOR_STEPS, Asked, Pictures
from maquette.generation.schedulers import with_scheduler

Picture = UInt8[Tensor, "3 h w"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One picture that is asked for: everything that decides its bytes, but the weights.

    guidance: None is what is usual for the base: 5, with Kandinsky 4, with EDM preconditioning 3.
    scheduler: see ``SCHEDULERS``. size: (height, width) in pixels; None is what the base was trained at.
    prior_steps, prior_guidance: of a base that first makes an image embedding of the prompt; None is what its pipeline
    takes.
    """

    prompt: str
    seed: int
    negative: str = ""
    steps: int = 25
    guidance: float | None = None
    scheduler: str | None = None
    size: tuple[int, int] | None = None
    prior_steps: int | None = None
    prior_guidance: float | None = None


def check_request(family: Family, request: Request) -> None:
    """Raise ConfigError for what this family cannot make, before anything is computed; ModelError where it is a part.

    What the text encoder will not read of a long prompt is reported.
    """
    pictures = pictures_of(family)
    (height, width), multiple = request.size or pictures.size, pictures.multiple
    if height % multiple or width % multiple or min(height, width) < multiple:
        near = [max(multiple, round(side / multiple) * multiple) for side in (height, width)]
        raise ConfigError(
            f"size {height}x{width} (height x width): this base makes sides that are multiples of {multiple}. "
            f"Nearest: {near[0]}x{near[1]}."
        )
    if request.steps < 1:
        raise ConfigError(f"steps = {request.steps}: at least 1 sampling step is needed.")
    if request.guidance is not None and request.guidance < 1:
        raise ConfigError(f"guidance = {request.guidance:g}: must be 1 (off) or more; 5 to 8 is usual.")
    if not pictures.has_prior and (request.prior_steps, request.prior_guidance) != (None, None):
        raise ConfigError("--prior-steps, --prior-guidance: this base has no prior; leave them out.")
    with_scheduler(scheduler_config(pictures.pipeline), request.scheduler, scales_input=pictures.scales_input)
    family.tokenize([request.prompt, request.negative])


def pictures_of(family: Family) -> Pictures:
    """What makes a family's pictures. Raises ModelError where it is only a part of what makes them."""
    pictures = family.pictures()
    if pictures is None:
        raise ModelError(
            f'The base (family "{family.name}") makes no pictures by itself. Give the decoder of Kandinsky 2.2 as the '
            "base, and this as its prior: --base DECODER --prior PRIOR."
        )
    return pictures


@contextmanager
def painter(family: Family) -> Generator[Callable[[Request], Picture]]:
    """Inside, a function that makes pictures with the family as it is now, adapters and all.

    One picture a forward pass: a picture of a batch differs from the same picture alone. Its first noise comes from a
    CPU generator, so that the device does not decide it. A picture with a number that is not finite is black.
    """
    pictures = pictures_of(family)
    pipeline, described = pictures.pipeline, scheduler_config(pictures.pipeline)
    pipeline.set_progress_bar_config(disable=True)
    training = [module for module in family.modules.values() if module.training]

    @torch.no_grad()
    def paint(request: Request) -> Picture:
        sampler = with_scheduler(described, request.scheduler, scales_input=pictures.scales_input)
        pipeline.register_modules(scheduler=sampler)
        asked = Asked(
            prompt=request.prompt,
            negative=request.negative,
            steps=request.steps,
            guidance=pictures.guidance if request.guidance is None else request.guidance,
            size=request.size or pictures.size,
            rng=torch.Generator().manual_seed(request.seed),
            prior_steps=request.prior_steps or PRIOR_STEPS,
            prior_guidance=request.prior_guidance or PRIOR_GUIDANCE,
        )
        return to_picture(pictures.make(asked)[0])

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
