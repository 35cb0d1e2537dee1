"""How a family makes pictures: its pipeline, and a picture of what is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.pipeline_utils import DiffusionPipeline, ImagePipelineOutput
from jaxtyping import Float
from torch import Generator, Tensor

from maquette.config.running import EDM_GUIDANCE, GUIDANCE
from maquette.config.words import written_out
from maquette.families.base import Family
from maquette.families.vae import decode

PRIOR_GUIDANCE, PRIOR_STEPS = 4.0, 25
"""What Kandinsky's own pipelines take for the way from the prompt to its picture's embedding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One picture that a pipeline is asked for.

    negative: "" is none. size: (height, width) in pixels. rng: a CPU generator. prior_steps, prior_guidance: of the way
    from the prompt to an image embedding, where a family goes it.
    """

    prompt: str
    negative: str
    steps: int
    guidance: float
    size: tuple[int, int]
    rng: Generator
    prior_steps: int = PRIOR_STEPS
    prior_guidance: float = PRIOR_GUIDANCE


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What makes a family's pictures.

    pipeline: the one whose sampler can be exchanged. make: a picture in [-1, 1] but for what the decoder overshoots, in
    fp32. size: (height, width) in pixels of a picture whose size nobody names. multiple: what both must be multiples
    of. scales_input: whether the pipeline lets a sampler scale what the denoiser is given, as some insist on.
    has_prior: whether prompts first become image embeddings. guidance: of a picture for which nobody names one.
    """

    pipeline: DiffusionPipeline
    make: Callable[[Asked], Float[Tensor, "1 3 h w"]]
    size: tuple[int, int]
    multiple: int
    scales_input: bool = True
    has_prior: bool = False
    guidance: float = GUIDANCE


def from_text(family: Family, vae: AutoencoderKL) -> Pictures:
    """Pictures of a family whose pipeline takes a prompt, and whose autoencoder is this."""
    pipeline, words = family.pipeline(), family.words
    # diffusers declares neither the parameters nor the results of pipelines where all of them meet.
    run = cast(Callable[..., ImagePipelineOutput], pipeline)

    def make(asked: Asked) -> Float[Tensor, "1 3 h w"]:
        height, width = asked.size
        latents = run(
            prompt=written_out(asked.prompt, words),
            # None rather than "": some checkpoints (SDXL) mean zeros by no negative prompt.
            negative_prompt=written_out(asked.negative, words) or None,
            num_inference_steps=asked.steps,
            guidance_scale=asked.guidance,
            height=height,
            width=width,
            generator=asked.rng,
            output_type="latent",  # pipelines cannot decode with an autoencoder of another precision than the rest
            clip_skip=family.clip_skip or None,
        ).images
        return decode(vae, cast(Tensor, latents))

    is_edm = type(pipeline.components["scheduler"]).__name__.startswith("EDM")
    guidance = EDM_GUIDANCE if is_edm else GUIDANCE
    return Pictures(pipeline, make, family.default_size, family.size_multiple, guidance=guidance)
