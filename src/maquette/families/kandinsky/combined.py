"""The halves of Kandinsky 2.2 together: a prompt's image embedding from the prior, and its picture from the decoder."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.autoencoders.vq_model import VQModel
from diffusers.models.transformers.prior_transformer import PriorTransformer
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.kandinsky2_2.pipeline_kandinsky2_2 import KandinskyV22Pipeline
from diffusers.pipelines.kandinsky2_2.pipeline_kandinsky2_2_prior import KandinskyV22PriorPipeline
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from jaxtyping import Float
from torch import Tensor

from maquette.config.running import KANDINSKY_GUIDANCE
from maquette.config.words import written_out
from maquette.errors import ModelError
from maquette.families import parts, text, unet
from maquette.families.pictures import Asked, Pictures
from maquette.families.weights import blank, fill, read_json, tensors_in

PARTS = ("unet", "movq", "scheduler")


def read_decoder(folder: Path, options: parts.Options) -> KandinskyV22Pipeline:
    """The decoder's parts from a diffusers folder, frozen.

    Raises ModelError for anything missing, damaged or of another family.
    """
    parts.check_parts(folder, PARTS, options)
    dtype = parts.folder_dtype(folder, options)
    denoiser = parts.read_unet(folder / "unet", options, dtype)
    movq = read_movq(folder / "movq", options, dtype)
    config, latent = denoiser.config, movq.config["vq_embed_dim"] or movq.config["latent_channels"]
    if config["encoder_hid_dim_type"] != "image_proj" or config["addition_embed_type"] != "image":
        raise ModelError(f"{folder}: its denoiser is not told image embeddings; it is no decoder of Kandinsky 2.2.")
    if config["in_channels"] != latent:
        kind = " (a decoder for inpainting, or one that is told depths)" if config["in_channels"] > latent else ""
        raise ModelError(
            f"{folder}: its denoiser takes {config['in_channels']} channels{kind}, and its autoencoder makes {latent}. "
            "Use the decoder for text: kandinsky-community/kandinsky-2-2-decoder."
        )
    scheduler = cast(Any, parts.read_sampler(folder / "scheduler"))
    return KandinskyV22Pipeline(unet=denoiser, scheduler=scheduler, movq=movq)


def read_movq(folder: Path, options: parts.Options, dtype: torch.dtype) -> VQModel:
    """The autoencoder in ``folder``."""
    settings = parts.model_settings(VQModel, read_json(folder / "config.json"), str(folder))
    movq = blank(lambda: VQModel(**settings), str(folder))
    return fill(movq, tensors_in(folder, options.variant), options.device, dtype, str(folder))


def latent_factor(movq: VQModel) -> int:
    """Pixels per position of the clean sample, in each direction; 8 for the published decoder."""
    return 2 ** (len(movq.config["block_out_channels"]) - 1)


def size_multiple(decoder: KandinskyV22Pipeline) -> int:
    """What both sides of a picture are multiples of: the pipeline rounds them up to the latent factor's square."""
    factor = latent_factor(decoder.movq)
    return math.lcm(unet.size_multiple(decoder.unet, factor), factor**2)


def alone(options: parts.Options) -> parts.Options:
    """The options of a half that stands beside the base: held in a precision of its own, and never quantized."""
    return replace(options, prior=None, decoder=None, precision=options.beside, quantize="none")


def check_fit(decoder: UNet2DConditionModel, prior: PriorTransformer) -> None:
    """Raise ModelError where the halves do not belong together."""
    reads, makes = decoder.config["encoder_hid_dim"], prior.config["embedding_dim"]
    if reads != makes:
        raise ModelError(
            f"The decoder reads image embeddings of {reads} numbers, and the prior makes {makes}. Give two that belong "
            "together (model.base with model.prior or model.decoder)."
        )


def pictures(
    prior: KandinskyV22PriorPipeline, decoder: KandinskyV22Pipeline, words: Mapping[str, Sequence[str]]
) -> Pictures:
    """Pictures of a prompt through both halves, the very ones that diffusers' KandinskyV22CombinedPipeline makes.

    words: placeholders of new tokens that the prior knows.
    """
    movq, sampler = decoder.movq, cast(ConfigMixin, decoder.scheduler)
    # One of its own: the sampler in it is exchanged.
    scheduler = cast(Any, type(sampler).from_config(unet.sampler_config(sampler)))
    pipeline = KandinskyV22Pipeline(unet=decoder.unet, scheduler=scheduler, movq=movq)
    prior.set_progress_bar_config(disable=True)
    # diffusers declares parameters without their results.
    embed = cast(Callable[..., tuple[Tensor, Tensor]], prior)
    draw = cast(Callable[..., ImagePipelineOutput], pipeline)

    def make(asked: Asked) -> Float[Tensor, "1 3 h w"]:
        prompt, unwanted = written_out(asked.prompt, words), written_out(asked.negative, words)
        text.tokenize(prior.tokenizer, [prompt, unwanted])  # which reports what is not read of them
        embeds, negative = embed(
            prompt=prompt,
            # None rather than "": no negative prompt is the embedding of a picture of zeros.
            negative_prompt=unwanted or None,
            num_inference_steps=asked.prior_steps,
            guidance_scale=asked.prior_guidance,
            generator=asked.rng,
            return_dict=False,
        )
        height, width = asked.size
        dtype = decoder.unet.dtype
        latents = draw(
            image_embeds=embeds.to(dtype),
            negative_image_embeds=negative.to(dtype),
            height=height,
            width=width,
            num_inference_steps=asked.steps,
            guidance_scale=asked.guidance,
            generator=asked.rng,
            output_type="latent",
        ).images
        return movq.decode(cast(Tensor, latents).to(movq.dtype), force_not_quantize=True).sample.float()

    size = unet.default_size(decoder.unet, latent_factor(movq))
    return Pictures(
        pipeline, make, size, size_multiple(decoder), scales_input=False, has_prior=True, guidance=KANDINSKY_GUIDANCE
    )
