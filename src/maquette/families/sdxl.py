"""Stable Diffusion XL, and Playground v2.5, which differs by its scheduler and autoencoder alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from maquette.config.words import written_out
from maquette.diffusion.scheduler import Diffusion, read_scheduler
from maquette.families import parts, text, unet, vae
from maquette.families.pictures import Pictures, from_text
from maquette.types import Conditioning, ImageCode, Tokens

PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")


@dataclass(frozen=True, slots=True, eq=False)
class StableDiffusionXL:
    """SDXL: two text encoders, and a UNet that is also told sizes and crops.

    | conditioning | shape     | what                                                                         |
    |--------------|-----------|------------------------------------------------------------------------------|
    | context      | (b, t, d) | last hidden state but one of both encoders, side by side, d = 768 + 1280     |
    | pooled       | (b, 1280) | projected end token of the second encoder                                    |
    | time_ids     | (b, 6)    | original height and width, crop top and left, height and width, in pixels    |

    clip_skip: layers of both encoders left out beyond the last.
    zero_negative: an empty negative prompt means zeros rather than the embedding of the empty text.
    words: placeholders of new tokens.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    text_encoder_2: CLIPTextModelWithProjection
    tokenizer: CLIPTokenizer
    tokenizer_2: CLIPTokenizer
    scheduler: ConfigMixin
    clip_skip: int = 0
    zero_negative: bool = True
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        width = parts.text_width(self.text_encoder, self.text_encoder_2)
        parts.check_fit(self.unet, self.vae, width, addition="text_time")
        text.check_clip_skip(self.clip_skip, self.text_encoder)
        text.check_clip_skip(self.clip_skip, self.text_encoder_2)

    @property
    def name(self) -> str:
        """The family's short name."""
        return "sdxl"

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """denoiser, text_encoder, text_encoder_2 and vae."""
        encoders = {"text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}
        return {"denoiser": self.unet, **encoders, "vae": self.vae}

    @property
    def diffusion(self) -> Diffusion:
        """What the scheduler's config says of the training: epsilon for SDXL, EDM for Playground v2.5."""
        return read_scheduler(unet.sampler_config(self.scheduler))

    @property
    def latent_factor(self) -> int:
        """8 for the published models."""
        return vae.latent_factor(self.vae)

    @property
    def size_multiple(self) -> int:
        """Pixels that become one position at the UNet's lowest level, 32 for the published models."""
        return unet.size_multiple(self.unet, self.latent_factor)

    @property
    def default_size(self) -> tuple[int, int]:
        """(height, width) in pixels: 1024 for the published models."""
        return unet.default_size(self.unet, self.latent_factor)

    @property
    def tokenizers(self) -> Mapping[str, CLIPTokenizer]:
        """Those of the two text encoders, which pad differently."""
        return {"text_encoder": self.tokenizer, "text_encoder_2": self.tokenizer_2}

    def with_vocabulary(self, tokenizers: Mapping[str, CLIPTokenizer], words: Mapping[str, Sequence[str]]) -> Self:
        """The same modules behind other tokenizers and other placeholders."""
        first, second = tokenizers["text_encoder"], tokenizers["text_encoder_2"]
        return replace(self, tokenizer=first, tokenizer_2=second, words=words)

    def encode_images(self, pixels: Float[Tensor, "b 3 h w"], geometry: Int[Tensor, "b 6"]) -> ImageCode:
        """The autoencoder's posterior, and each picture's own geometry as its time_ids."""
        mean, std = vae.encode(self.vae, pixels)
        # fp32 whatever the weights are: bf16 cannot tell a width of 1337 from 1336.
        return ImageCode(mean, std, {"time_ids": geometry.to(mean.device, torch.float32)})

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        """Ids (b, 77) for either text encoder, which pad differently. Raises DataError on nothing."""
        captions = [written_out(caption, self.words) for caption in captions]
        return {name: text.tokenize(tokenizer, captions) for name, tokenizer in self.tokenizers.items()}

    def embed_text(self, tokens: Tokens) -> Conditioning:
        """{"context": (b, 77, d), "pooled": (b, p)}; {} gives {}."""
        if not tokens:
            return {}
        first, _ = text.penultimate_states(self.text_encoder, tokens["text_encoder"], self.clip_skip)
        second, pooled = text.penultimate_states(self.text_encoder_2, tokens["text_encoder_2"], self.clip_skip)
        return {"context": torch.cat([first, second], dim=-1), "pooled": pooled}

    def predict(
        self, x: Float[Tensor, "b c h w"], t: Float[Tensor, " b"], cond: Conditioning
    ) -> Float[Tensor, "b c h w"]:
        """The UNet's output, computed in its own dtype."""
        dtype = self.unet.dtype
        added = {"text_embeds": cond["pooled"].to(dtype), "time_ids": cond["time_ids"]}
        context = cond["context"].to(dtype)
        return self.unet(x.to(dtype), t, encoder_hidden_states=context, added_cond_kwargs=added).sample

    def pictures(self) -> Pictures:
        """Of prompts, through the pipeline."""
        return from_text(self, self.vae)

    def pipeline(self) -> StableDiffusionXLPipeline:
        """A StableDiffusionXLPipeline over the same modules, without a watermark."""
        # Any: diffusers' annotations do not say what schedulers have in common.
        scheduler: Any = unet.pipeline_scheduler(self.scheduler)
        return StableDiffusionXLPipeline(
            unet=self.unet,
            vae=self.vae,
            text_encoder=self.text_encoder,
            text_encoder_2=self.text_encoder_2,
            tokenizer=self.tokenizer,
            tokenizer_2=self.tokenizer_2,
            scheduler=scheduler,
            force_zeros_for_empty_prompt=self.zero_negative,
            add_watermarker=False,
        )


def load(folder: Path, options: parts.Options) -> StableDiffusionXL:
    """SDXL from a diffusers folder. Raises ModelError for anything missing, damaged or of another family."""
    parts.check_parts(folder, PARTS, options)
    dtype = parts.folder_dtype(folder, options)
    first, second = parts.read_tokenizer(folder / "tokenizer"), parts.read_tokenizer(folder / "tokenizer_2")
    projected = CLIPTextModelWithProjection
    return StableDiffusionXL(
        unet=parts.read_unet(folder / "unet", options, dtype),
        vae=parts.read_vae(folder / "vae", options, dtype),
        text_encoder=parts.read_text_encoder(folder / "text_encoder", CLIPTextModel, first, options, dtype),
        text_encoder_2=parts.read_text_encoder(folder / "text_encoder_2", projected, second, options, dtype),
        tokenizer=first,
        tokenizer_2=second,
        scheduler=parts.read_sampler(folder / "scheduler"),
        clip_skip=options.clip_skip,
        zero_negative=parts.read_json(folder / "model_index.json").get("force_zeros_for_empty_prompt", True) is True,
    )
