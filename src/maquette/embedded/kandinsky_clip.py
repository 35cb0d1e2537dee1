"""A CLIP of the world, which Kandinsky is built on: image and text encoder that agree on what belongs together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize
from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from maquette.embedded.autoencoding import to_pixels
from maquette.embedded.bank import Pictures
from maquette.embedded.batches import even, in_rounds
from maquette.embedded.captions import caption
from maquette.embedded.judging import Temperature, contrast, moved
from maquette.embedded.keys import rng_for
from maquette.embedded.scene import scene_at
from maquette.training.objective import Objective


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pictures, and a caption of each in token ids."""

    pixels: Float[Tensor, "b 3 h w"]
    ids: Int[Tensor, "b t"]
    weight: Float[Tensor, " b"]
    concept: Int[Tensor, " b"]


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """The two encoders, and how sharply they are contrasted, which training alone needs."""

    images: CLIPVisionModelWithProjection
    texts: CLIPTextModelWithProjection
    temperature: Temperature

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """All that is trained, by the names that its file has."""
        return {"image_encoder": self.images, "text_encoder": self.texts, "temperature": self.temperature}


def pair_batches(
    bank: Pictures, tokenize: Callable[[Sequence[str]], Int[Tensor, "b t"]], batch_size: int, seed: int
) -> Callable[[int], Sequence[Pairs]]:
    """Step -> one batch of pictures with freshly worded captions, every picture once before any comes again."""

    def batches_at(step: int) -> Sequence[Pairs]:
        chosen = in_rounds(len(bank), batch_size, seed, step)
        texts = [caption(scene_at(key, "train"), rng_for("clip", seed, step, key)) for key in chosen.tolist()]
        return [Pairs(to_pixels(bank[chosen.numpy()]), tokenize(texts), *even(batch_size))]

    return batches_at


def pairing(clip: Clip) -> Objective[Pairs]:
    """The contrast of each picture, moved a little, with the captions of the batch.

    Source: Radford et al. 2021 (arXiv 2103.00020), section 2.3.
    """

    end = clip.texts.config.eos_token_id
    assert isinstance(end, int)

    def loss(batch: Pairs, rng: Generator) -> Float[Tensor, " b"]:
        pictures = clip.images(pixel_values=moved(batch.pixels, rng)).image_embeds
        captions = clip.texts(unpadded(batch.ids, end)).text_embeds
        return contrast(clip.temperature() * normalize(pictures) @ normalize(captions).T)

    return loss


def unpadded(ids: Int[Tensor, "b t"], end: int) -> Int[Tensor, "b s"]:
    """The ids up to the longest text's end: what follows is padding, and the encoder is causal."""
    return ids[:, : int(ids.ne(end).sum(1).max()) + 1]
