"""Stable Diffusion 1 and 2: one CLIP text encoder, a UNet that attends to its tokens, a KL autoencoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from diffusers.configuration_utils import ConfigMixin
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from maquette.config.words import written_out
from maquette.diffusion.scheduler import Diffusion, read_scheduler
from maquette.families import parts, text, unet, vae
from maquette.families.pictures import Pictures, from_text
from maquette.types import Conditioning, ImageCode, Tokens

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


@dataclass(frozen=True, slots=True, eq=False)
class StableDiffusion:
    """Stable Diffusion 1.x and 2.x, in epsilon or v prediction as the scheduler's config says.

    | conditioning | shape     | what                                           |
    |--------------|-----------|------------------------------------------------|
    | context      | (b, t, d) | last hidden state of the text encoder, d = 768 or 1024 |

    clip_skip: how many of the text encoder's last layers are left out. words: placeholders of new tokens.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: ConfigMixin
    clip_skip: int = 0
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts.check_fit(self.unet, self.vae, parts.text_width(self.text_encoder), addition=None)
        text.check_clip_skip(self.clip_skip, self.text_encoder)

    @property
    def name(self) -> str:
        """The family's short name."""
        return "sd"

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """denoiser, text_encoder and vae."""
        return {"denoiser": self.unet, "text_encoder": self.text_encoder, "vae": self.vae}

    @property
    def diffusion(self) -> Diffusion:
        """What the scheduler's config says of the training."""
        return read_scheduler(unet.sampler_config(self.scheduler))

    @property
    def latent_factor(self) -> int:
        """8 for the published models."""
        return vae.latent_factor(self.vae)

    @property
    def size_multiple(self) -> int:
        """Pixels that become one position at the UNet's lowest level, 64 for the published models."""
        return unet.size_multiple(self.unet, self.latent_factor)

    @property
    def default_size(self) -> tuple[int, int]:
        """(height, width) in pixels: 512 for Stable Diffusion 1 and 2-base, 768 for 2."""
        return unet.default_size(self.unet, self.latent_factor)

    @property
    def tokenizers(self) -> Mapping[str, CLIPTokenizer]:
        """That of the text encoder."""
        return {"text_encoder": self.tokenizer}

    def with_vocabulary(self, tokenizers: Mapping[str, CLIPTokenizer], words: Mapping[str, Sequence[str]]) -> Self:
        """The same modules behind another tokenizer and other placeholders."""
        return replace(self, tokenizer=tokenizers["text_encoder"], words=words)

    def encode_images(self, pixels: Float[Tensor, "b 3 h w"], geometry: Int[Tensor, "b 6"]) -> ImageCode:  # noqa: ARG002 - the protocol's; this family is not told of it
        """The autoencoder's posterior; the geometry does not matter to this family."""
        mean, std = vae.encode(self.vae, pixels)
        return ImageCode(mean, std, {})

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        """Ids (b, 77) for the text encoder. Raises DataError on nothing."""
        captions = [written_out(caption, self.words) for caption in captions]
        return {"text_encoder": text.tokenize(self.tokenizer, captions)}

    def embed_text(self, tokens: Tokens) -> Conditioning:
        """{"context": (b, 77, d)}; {} gives {}."""
        if not tokens:
            return {}
        return {"context": text.last_states(self.text_encoder, tokens["text_encoder"], self.clip_skip)}

    def predict(
        self, x: Float[Tensor, "b c h w"], t: Float[Tensor, " b"], cond: Conditioning
    ) -> Float[Tensor, "b c h w"]:
        """The UNet's output, computed in its own dtype."""
        dtype = self.unet.dtype
        return self.unet(x.to(dtype), t, encoder_hidden_states=cond["context"].to(dtype)).sample

    def pictures(self) -> Pictures:
        """Of prompts, through the pipeline."""
        return from_text(self, self.vae)

    def pipeline(self) -> StableDiffusionPipeline:
        """A StableDiffusionPipeline over the same modules, without a safety checker, which it never had."""
        if not hasattr(self.text_encoder, "text_model"):
            # diffusers 0.42 looks there for the final norm when it skips layers; transformers 5 has it on the encoder
            # itself. Set past nn.Module, which would take the encoder for a part of itself.
            object.__setattr__(self.text_encoder, "text_model", self.text_encoder)
        # Any: diffusers' annotations know neither that a part may be missing nor what schedulers have in common.
        others: dict[str, Any] = {
            "scheduler": unet.pipeline_scheduler(self.scheduler),
            "safety_checker": None,
            "feature_extractor": None,
            "requires_safety_checker": False,
        }
        return StableDiffusionPipeline(
            unet=self.unet, vae=self.vae, text_encoder=self.text_encoder, tokenizer=self.tokenizer, **others
        )


def load(folder: Path, options: parts.Options) -> StableDiffusion:
    """Stable Diffusion 1 or 2 from a diffusers folder.

    Raises ModelError for anything missing, damaged or of another family.
    """
    parts.check_parts(folder, PARTS, options)
    dtype = parts.folder_dtype(folder, options)
    tokenizer = parts.read_tokenizer(folder / "tokenizer")
    return StableDiffusion(
        unet=parts.read_unet(folder / "unet", options, dtype),
        vae=parts.read_vae(folder / "vae", options, dtype),
        text_encoder=parts.read_text_encoder(folder / "text_encoder", CLIPTextModel, tokenizer, options, dtype),
        tokenizer=tokenizer,
        scheduler=parts.read_sampler(folder / "scheduler"),
        clip_skip=options.clip_skip,
    )
