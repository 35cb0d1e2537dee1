"""The one seam between a model family and everything else."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import CLIPTokenizer

from maquette.diffusion.scheduler import Diffusion
from maquette.types import Conditioning, ImageCode, Tokens

if TYPE_CHECKING:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    from maquette.families.pictures import Pictures


@runtime_checkable
class Family(Protocol):
    """A loaded checkpoint. ``modules["denoiser"]`` always exists; other names are the family's own."""

    @property
    def name(self) -> str:
        """The architecture's name."""
        ...

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """What the checkpoint consists of, by name."""
        ...

    @property
    def diffusion(self) -> Diffusion:
        """How it was noised and what its network predicts."""
        ...

    @property
    def size_multiple(self) -> int:
        """What picture height and width must be multiples of, in pixels."""
        ...

    @property
    def latent_factor(self) -> int:
        """Pixels per position of the clean sample, in each direction; 0 where it is a vector, without positions."""
        ...

    @property
    def clip_skip(self) -> int:
        """How many of the text encoders' last layers are left out."""
        ...

    @property
    def default_size(self) -> tuple[int, int]:
        """(height, width) in pixels that it was trained at."""
        ...

    @property
    def tokenizers(self) -> Mapping[str, CLIPTokenizer]:
        """The tokenizer of each text encoder, by its module's name."""
        ...

    @property
    def words(self) -> Mapping[str, Sequence[str]]:
        """Placeholders in prompts, and the new tokens that each stands for; none in a model as it was published."""
        ...

    def with_vocabulary(self, tokenizers: Mapping[str, CLIPTokenizer], words: Mapping[str, Sequence[str]]) -> Self:
        """The same modules behind these tokenizers and placeholders (see ``vocabulary.with_tokens``)."""
        ...

    def encode_images(self, pixels: Float[Tensor, "b 3 h w"], geometry: Int[Tensor, "b 6"]) -> ImageCode:
        """Pixels in [-1, 1] and their geometry (original height, width, crop top, left, height, width) -> code."""
        ...

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        """Token ids per text encoder, placeholders written out, padded as the pipeline pads them.

        Raises DataError on nothing.
        """
        ...

    def embed_text(self, tokens: Tokens) -> Conditioning:
        """Text conditioning of the tokens, with gradient where a text module requires it; {} gives {}."""
        ...

    def predict(self, x: Float[Tensor, "b *s"], t: Float[Tensor, " b"], cond: Conditioning) -> Float[Tensor, "b *s"]:
        """The denoiser's raw output F for input c_in * x_t at time t."""
        ...

    def pipeline(self) -> "DiffusionPipeline":
        """A diffusers pipeline over the same modules, which saves them."""
        ...

    def pictures(self) -> "Pictures | None":
        """What makes pictures with the modules as they are now, always a diffusers pipeline.

        None where the base is only a part of what makes them.
        """
        ...
