"""The prior of Kandinsky 2.2: from a text to the CLIP embedding of a picture that it could describe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, cast

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.transformers.prior_transformer import PriorTransformer
from diffusers.pipelines.kandinsky2_2.pipeline_kandinsky2_2 import KandinskyV22Pipeline
from diffusers.pipelines.kandinsky2_2.pipeline_kandinsky2_2_prior import KandinskyV22PriorPipeline
from diffusers.schedulers.scheduling_unclip import UnCLIPScheduler
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as CLIPImageProcessor

from maquette.config.words import written_out
from maquette.diffusion.scheduler import Diffusion, read_scheduler
from maquette.errors import ModelError
from maquette.families import parts, text, unet
from maquette.families.kandinsky import combined, vision
from maquette.families.pictures import Pictures
from maquette.families.weights import blank, read_json, tensors_in
from maquette.types import Conditioning, ImageCode, Tokens

PARTS = ("prior", "image_encoder", "image_processor", "text_encoder", "tokenizer", "scheduler")


class Spread(nn.Module):
    """Mean and deviation of CLIP's image embeddings, by which the prior's clean samples are normalised.

    A copy in fp32 of what the prior holds: it decides what pictures are encoded to, so it counts among the encoders.
    """

    def __init__(self, prior: PriorTransformer) -> None:
        super().__init__()
        self.register_buffer("mean", prior.clip_mean.detach().float().clone())
        self.register_buffer("std", prior.clip_std.detach().float().clone())
        self.eval()

    def forward(self, embeds: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Embeddings normalised; the inverse of the prior's ``post_process_latents``."""
        return (embeds - self.get_buffer("mean")) / self.get_buffer("std")


@dataclass(frozen=True, slots=True, eq=False)
class KandinskyPrior:
    """The prior of Kandinsky 2.2. Its clean sample is a vector: the normalised image embedding of a picture.

    | conditioning | shape     | what                                                           |
    |--------------|-----------|----------------------------------------------------------------|
    | text_embeds  | (b, d)    | projected end token of the text encoder, d = 1280              |
    | text_states  | (b, t, d) | its last hidden state                                          |
    | text_mask    | (b, t)    | true for the tokens of the text, from start to end             |

    decoder: the other half, which makes pictures of what is predicted; None where there are none. words: placeholders
    of new tokens.
    """

    prior: PriorTransformer
    image_encoder: CLIPVisionModelWithProjection
    image_processor: CLIPImageProcessor
    text_encoder: CLIPTextModelWithProjection
    tokenizer: CLIPTokenizer
    scheduler: ConfigMixin
    decoder: KandinskyV22Pipeline | None = None
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    spread: Spread = field(init=False)

    def __post_init__(self) -> None:
        check_fit(self.prior, self.image_encoder, self.text_encoder)
        vision.check_fit(self.image_encoder, self.image_processor)
        if self.decoder is not None:
            combined.check_fit(self.decoder.unet, self.prior)
        object.__setattr__(self, "spread", Spread(self.prior))

    @property
    def name(self) -> str:
        """The family's short name."""
        return "kandinsky-prior"

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """denoiser, text_encoder, image_encoder and spread; of a decoder, the two that only pictures need."""
        encoders = {"text_encoder": self.text_encoder, "image_encoder": self.image_encoder}
        other = self.decoder
        of_pictures = {} if other is None else {"decoder": other.unet, "decoder_vae": other.movq}
        return {"denoiser": self.prior, **encoders, "spread": self.spread, **of_pictures}

    @property
    def diffusion(self) -> Diffusion:
        """What the scheduler's config says of the training: the clean sample is predicted, on a cosine schedule."""
        return read_scheduler(unet.sampler_config(self.scheduler))

    @property
    def latent_factor(self) -> int:
        """0: an embedding has no positions."""
        return 0

    @property
    def size_multiple(self) -> int:
        """1: pictures of any size become one embedding."""
        return 1

    @property
    def default_size(self) -> tuple[int, int]:
        """(height, width) in pixels that the image encoder is shown: 224 for the published model."""
        side = vision.crop_side(self.image_processor)
        return side, side

    @property
    def clip_skip(self) -> int:
        """0: the prior is told the last hidden state."""
        return 0

    @property
    def tokenizers(self) -> Mapping[str, CLIPTokenizer]:
        """That of the text encoder."""
        return {"text_encoder": self.tokenizer}

    def with_vocabulary(self, tokenizers: Mapping[str, CLIPTokenizer], words: Mapping[str, Sequence[str]]) -> Self:
        """The same modules behind another tokenizer and other placeholders."""
        return replace(self, tokenizer=tokenizers["text_encoder"], words=words)

    def encode_images(self, pixels: Float[Tensor, "b 3 h w"], geometry: Int[Tensor, "b 6"]) -> ImageCode:  # noqa: ARG002 - the protocol's; this family is not told of it
        """The normalised image embeddings, which nothing is random about."""
        return ImageCode(self.spread(vision.embed(self.image_encoder, self.image_processor, pixels)), None, {})

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        """Ids (b, 77) for the text encoder. Raises DataError on nothing."""
        captions = [written_out(caption, self.words) for caption in captions]
        return {"text_encoder": text.tokenize(self.tokenizer, captions)}

    def embed_text(self, tokens: Tokens) -> Conditioning:
        """{"text_embeds": (b, d), "text_states": (b, 77, d), "text_mask": (b, 77)}; {} gives {}."""
        if not tokens:
            return {}
        ids = tokens["text_encoder"].to(self.text_encoder.device)
        output, mask = self.text_encoder(ids), read_part(ids, self.tokenizer.eos_token_id)
        return {"text_embeds": output.text_embeds, "text_states": output.last_hidden_state, "text_mask": mask}

    def predict(self, x: Float[Tensor, "b d"], t: Float[Tensor, " b"], cond: Conditioning) -> Float[Tensor, "b d"]:
        """The prior's output, computed in its own dtype."""
        dtype = self.prior.dtype
        embeds, states = cond["text_embeds"].to(dtype), cond["text_states"].to(dtype)
        return self.prior(
            x.to(dtype), t, proj_embedding=embeds, encoder_hidden_states=states, attention_mask=cond["text_mask"]
        ).predicted_image_embedding

    def pictures(self) -> Pictures | None:
        """Of prompts, through the decoder; None without one."""
        return None if self.decoder is None else combined.pictures(self.pipeline(), self.decoder, self.words)

    def pipeline(self) -> KandinskyV22PriorPipeline:
        """A KandinskyV22PriorPipeline over the same modules."""
        # Any: diffusers names the class that needs torchvision.
        processor: Any = self.image_processor
        pipeline = KandinskyV22PriorPipeline(
            prior=self.prior,
            image_encoder=self.image_encoder,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            scheduler=cast(UnCLIPScheduler, type(self.scheduler).from_config(self.scheduler.config)),
            image_processor=processor,
        )
        # The name that every version of transformers knows, for folders saved of it.
        pipeline.register_to_config(image_processor=("transformers", "CLIPImageProcessor"))
        return pipeline


def read_part(ids: Int[Tensor, "b t"], end: int) -> Bool[Tensor, "b t"]:
    """True for each token up to and with the first end token; what follows is padding, whatever it is padded with."""
    is_end = ids.eq(end).long()
    return is_end.cumsum(1) - is_end == 0


def check_fit(
    prior: PriorTransformer, image_encoder: CLIPVisionModelWithProjection, text_encoder: CLIPTextModelWithProjection
) -> None:
    """Raise ModelError where the parts do not belong together."""
    config, texts = prior.config, text_encoder.config
    width, images = config["embedding_dim"], image_encoder.config.projection_dim
    projected = config["embedding_proj_dim"] or width
    problems = []
    if width != images:
        problems.append(f"its prior predicts {width} numbers, and its image encoder makes {images} of a picture")
    if projected != texts.projection_dim or width != texts.hidden_size:
        problems.append(
            f"its prior reads texts of {projected} numbers and {width} a token, and its text encoder makes "
            f"{texts.projection_dim} and {texts.hidden_size}"
        )
    if problems:
        raise ModelError(f"The parts of the model do not fit: {'; '.join(problems)}. Use one prior's own parts.")


def load(folder: Path, options: parts.Options) -> KandinskyPrior:
    """The prior of Kandinsky 2.2 from a diffusers folder.

    Raises ModelError for anything missing, damaged or of another family, and for options that a prior has no use for.
    """
    if options.clip_skip:
        raise ModelError(
            f"clip_skip = {options.clip_skip}: a prior is told all layers of its text encoder. Set it to 0."
        )
    if options.vae is not None:
        raise ModelError("model.vae: a prior has no autoencoder; its decoder has. Leave it out.")
    parts.check_parts(folder, PARTS, options)
    dtype = parts.folder_dtype(folder, options, "prior")
    tokenizer = parts.read_tokenizer(folder / "tokenizer")
    projected = CLIPTextModelWithProjection
    return KandinskyPrior(
        prior=read_prior(folder / "prior", options, dtype),
        image_encoder=vision.read_image_encoder(folder / "image_encoder", options, dtype),
        image_processor=vision.read_image_processor(folder / "image_processor"),
        text_encoder=parts.read_text_encoder(folder / "text_encoder", projected, tokenizer, options, dtype),
        tokenizer=tokenizer,
        scheduler=parts.read_sampler(folder / "scheduler"),
        decoder=None if options.decoder is None else combined.read_decoder(options.decoder, combined.alone(options)),
    )


def read_prior(folder: Path, options: parts.Options, dtype: torch.dtype) -> PriorTransformer:
    """The denoiser in ``folder``."""
    tensors = tensors_in(folder, options.variant)
    return parts.fill_denoiser(blank_prior(folder), tensors, options, dtype, str(folder))


def blank_prior(folder: Path) -> PriorTransformer:
    """The denoiser of the config in ``folder``, without weights."""
    settings = parts.model_settings(PriorTransformer, read_json(folder / "config.json"), str(folder))
    return blank(lambda: PriorTransformer(**settings), str(folder))
