"""The decoder of Kandinsky 2.2: from the CLIP embedding of a picture to the picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

from diffusers.configuration_utils import ConfigMixin
from diffusers.models.autoencoders.vq_model import VQModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.kandinsky2_2.pipeline_kandinsky2_2 import KandinskyV22Pipeline
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import CLIPTokenizer

from maquette.diffusion.scheduler import Diffusion, read_scheduler
from maquette.errors import DataError, ModelError
from maquette.families import parts, unet
from maquette.families.kandinsky import combined, vision
from maquette.families.kandinsky.prior import KandinskyPrior
from maquette.families.kandinsky.prior import load as load_prior
from maquette.families.pictures import Pictures
from maquette.types import Conditioning, ImageCode, Tokens


@dataclass(frozen=True, slots=True, eq=False)
class KandinskyDecoder:
    """The decoder of Kandinsky 2.2. It is told no text, but the image embedding of the picture that it is to make.

    | conditioning | shape  | what                                                            |
    |--------------|--------|-----------------------------------------------------------------|
    | image_embeds | (b, d) | CLIP's embedding of the picture as it is trained on, d = 1280   |

    prior: whose image encoder embeds the pictures that are learned, and which makes embeddings of prompts; frozen.
    """

    unet: UNet2DConditionModel
    movq: VQModel
    scheduler: ConfigMixin
    prior: KandinskyPrior

    def __post_init__(self) -> None:
        combined.check_fit(self.unet, self.prior.prior)

    @property
    def name(self) -> str:
        """The family's short name."""
        return "kandinsky-decoder"

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """denoiser, vae, image_encoder, and the prior's two that only pictures of prompts need."""
        of_prompts = {"prior": self.prior.prior, "prior_text_encoder": self.prior.text_encoder}
        return {"denoiser": self.unet, "vae": self.movq, "image_encoder": self.prior.image_encoder, **of_prompts}

    @property
    def diffusion(self) -> Diffusion:
        """What the scheduler's config says of the training."""
        return read_scheduler(unet.sampler_config(self.scheduler))

    @property
    def latent_factor(self) -> int:
        """8 for the published model."""
        return combined.latent_factor(self.movq)

    @property
    def size_multiple(self) -> int:
        """64 for the published model."""
        return combined.size_multiple(self.pipeline())

    @property
    def default_size(self) -> tuple[int, int]:
        """(height, width) in pixels: 512 for the published model."""
        return unet.default_size(self.unet, self.latent_factor)

    @property
    def clip_skip(self) -> int:
        """0: no text is read."""
        return 0

    @property
    def tokenizers(self) -> Mapping[str, CLIPTokenizer]:
        """None: captions play no part in training."""
        return {}

    @property
    def words(self) -> Mapping[str, Sequence[str]]:
        """Placeholders of new tokens that the prior knows."""
        return self.prior.words

    def with_vocabulary(self, tokenizers: Mapping[str, CLIPTokenizer], words: Mapping[str, Sequence[str]]) -> Self:  # noqa: ARG002 - the protocol's; there are none
        """The same, since it has no tokenizers."""
        return replace(self)

    def encode_images(self, pixels: Float[Tensor, "b 3 h w"], geometry: Int[Tensor, "b 6"]) -> ImageCode:  # noqa: ARG002 - the protocol's; this family is not told of it
        """The MoVQ's latents, unscaled and with nothing random about them, and the pictures' embeddings."""
        latents = self.movq.encode(pixels.to(self.movq.device, self.movq.dtype)).latents.float().contiguous()
        embeds = vision.embed(self.prior.image_encoder, self.prior.image_processor, pixels)
        return ImageCode(latents, None, {"image_embeds": embeds})

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        """No ids: captions are not read. Raises DataError on nothing."""
        if not captions:
            raise DataError("there is no caption to encode; give at least one, which may be the empty text.")
        return {}

    def embed_text(self, tokens: Tokens) -> Conditioning:  # noqa: ARG002 - the protocol's; there are none
        """{}: no text is read."""
        return {}

    def predict(
        self, x: Float[Tensor, "b c h w"], t: Float[Tensor, " b"], cond: Conditioning
    ) -> Float[Tensor, "b c h w"]:
        """The UNet's output, computed in its own dtype, without the further channels for a learned variance."""
        dtype = self.unet.dtype
        # diffusers annotates a tensor where None is what this conditioning wants.
        text: Any = None
        added = {"image_embeds": cond["image_embeds"].to(dtype)}
        output = self.unet(x.to(dtype), t, encoder_hidden_states=text, added_cond_kwargs=added).sample
        return output[:, : x.shape[1]]

    def pictures(self) -> Pictures:
        """Of prompts, through the prior."""
        return combined.pictures(self.prior.pipeline(), self.pipeline(), self.words)

    def pipeline(self) -> KandinskyV22Pipeline:
        """A KandinskyV22Pipeline over the decoder's own modules."""
        scheduler = cast(Any, type(self.scheduler).from_config(unet.sampler_config(self.scheduler)))
        return KandinskyV22Pipeline(unet=self.unet, scheduler=scheduler, movq=self.movq)


def load(folder: Path, options: parts.Options) -> KandinskyDecoder:
    """The decoder of Kandinsky 2.2 from a diffusers folder, and the prior that the options name.

    Raises ModelError for anything missing, damaged or of another family, and for options that a decoder has no use for.
    """
    if options.prior is None:
        raise ModelError(
            f"{folder}: is a decoder of Kandinsky 2.2, which is told image embeddings; what makes them lies in its "
            "prior. Name that too, as a folder or hub id: --set model.prior=kandinsky-community/kandinsky-2-2-prior "
            "(of generate and fuse: --prior)."
        )
    if options.clip_skip:
        raise ModelError(f"clip_skip = {options.clip_skip}: a decoder reads no text. Set it to 0.")
    if options.vae is not None:
        raise ModelError("model.vae: a decoder has a MoVQ of its own, for which there is no other. Leave it out.")
    decoder = combined.read_decoder(folder, options)
    prior = load_prior(options.prior, combined.alone(options))
    scheduler = cast(ConfigMixin, decoder.scheduler)
    return KandinskyDecoder(decoder.unet, decoder.movq, scheduler, prior)
