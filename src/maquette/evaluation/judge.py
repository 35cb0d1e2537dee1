"""The offline judge: reads pictures of the embedded world and compares them, from small networks in this package.

A judge stands in for CLIP, DINO and a face embedder where no network is at hand. It knows the embedded world and
nothing else, and its numbers are not comparable with theirs: they must never be printed under those names.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from maquette.errors import DataError
from maquette.evaluation.towers import SIDE, Networks, TowerConfig, tokenize, words_of

BATCH = 50


@dataclass(frozen=True, slots=True)
class Reading:
    """What a judge sees in n pictures, by attribute.

    values: for each picture the likeliest value; None for the colour and pattern of a person, who has neither.
    probabilities: of every value, in the order of the judge's ``attributes``; calibrated on renders of the world alone.
    """

    values: Mapping[str, Sequence[str | None]]
    probabilities: Mapping[str, Float[Tensor, "n k"]]


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Evaluators trained on the embedded world; all pictures are uint8 (n, 3, h, w) of any size.

    Of a picture that is not square the middle is judged, scaled to 64x64. Every function is pure; features are unit
    vectors (n, d), so a product of two is their cosine.
    """

    name: str
    config: TowerConfig
    networks: Networks

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]]:
        """The values that each attribute can be read as."""
        return self.config.attributes

    @torch.no_grad()
    def read(self, images: UInt8[Tensor, "n 3 h w"]) -> Reading:
        """Name kind, place, style, main colour and pattern of each picture."""
        parts = [self.networks.reader(pixels)[1] for pixels in _pixels(images)]
        logits = {name: torch.cat([part[name] for part in parts]) for name in self.attributes}
        values: dict[str, list[str | None]] = {
            name: [self.attributes[name][i] for i in logits[name].argmax(1).tolist()] for name in logits
        }
        for name in ("colour", "pattern"):
            pairs = zip(values[name], values["kind"], strict=True)
            values[name] = [None if kind == "person" else value for value, kind in pairs]
        return Reading(values, {name: value.softmax(1) for name, value in logits.items()})

    def image_features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """What a picture shows, in the space of ``text_features``; the stand-in for CLIP's image tower."""
        return _encoded(lambda pixels: self.networks.reader(pixels)[0], images)

    def instance_features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Which very object a picture shows, wherever it stands; the stand-in for DINO."""
        return _encoded(self.networks.instance, images)

    def face_features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Which person a picture shows; of a picture without a person the answer means nothing (see ``read``)."""
        return _encoded(self.networks.face, images)

    def style_features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """How a picture is made, whatever it shows."""
        return _encoded(self.networks.style, images)

    def look_features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """How a picture looks, place by place; one minus a product of two stands in for LPIPS (0 the same, at most 2).

        The instance tower's maps at each of its scales, every place a unit vector and every scale as much as another:
        long vectors, some 45,000 numbers. Source: Zhang et al. 2018 (arXiv 1801.03924), without its learned weights.
        """
        return _encoded(self._look, images)

    def _look(self, pixels: Float[Tensor, "b 3 64 64"]) -> Float[Tensor, "b d"]:
        maps = []
        for scale in self.networks.instance.tower.scales:
            pixels = scale(pixels)
            maps.append(functional.normalize(pixels, dim=1).flatten(1) / pixels[0, 0].numel() ** 0.5)
        return torch.cat(maps, 1) / len(maps) ** 0.5

    @torch.no_grad()
    def text_features(self, prompts: Sequence[str]) -> Float[Tensor, "n d"]:
        """What a prompt asks for, in the space of ``image_features``; words that the judge does not know are left out.

        Raises DataError for prompts of which no word is known. ``judges.unknown_words`` tells what is left out.
        """
        known = set(self.config.words)
        empty = [prompt for prompt in prompts if known.isdisjoint(words_of(prompt))]
        if empty or not prompts:
            listed = ", ".join(map(repr, empty)) or "there are none"
            raise DataError(
                f"prompts that this judge cannot read: {listed}. It knows {len(known)} words of the embedded world; "
                "use at least one in each prompt, such as mug, red or beach."
            )
        device = self.networks.text.embedding.weight.device
        return self.networks.text(tokenize(prompts, self.config.words).to(device))


@torch.no_grad()
def _encoded(encode: Callable[[Tensor], Tensor], images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
    return torch.cat([encode(pixels) for pixels in _pixels(images)])


def _pixels(images: UInt8[Tensor, "n 3 h w"]) -> Iterator[Float[Tensor, "b 3 64 64"]]:
    """Batches in [-1, 1]: the middle square, scaled with an antialiased cubic filter where it is not 64x64."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise DataError(
            f"pictures of type {images.dtype} and shape {list(images.shape)}: a judge reads uint8 "
            "(n, 3, height, width) with at least one picture. Decode to RGB bytes first."
        )
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[:, :, top : top + side, left : left + side]
    for part in square.split(BATCH):
        pixels = part.float()
        if side != SIDE:
            pixels = functional.interpolate(pixels, (SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 255)
        yield (pixels / 127.5 - 1).contiguous(memory_format=torch.channels_last)
