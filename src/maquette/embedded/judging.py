"""Objectives and batches that make a judge: reading pictures, and telling subjects, faces and styles apart."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.nn import functional

from maquette.embedded.autoencoding import to_pixels
from maquette.embedded.bank import VIEWS, Pictures
from maquette.embedded.batches import even, in_rounds
from maquette.embedded.captions import caption
from maquette.embedded.claims import facts
from maquette.embedded.keys import rng_for
from maquette.embedded.pseudo_styles import invented
from maquette.embedded.scene import Split, scene_at, subject_at
from maquette.embedded.vocabulary import COLOURS, KINDS, PATTERNS, PERSON, PLACES, STYLES
from maquette.evaluation.towers import Encoder, Reader, TextTower, tokenize, words_of
from maquette.training.objective import Objective
from maquette.training.seeds import rng_at

ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "kind": (*KINDS, PERSON),
    "place": PLACES,
    "style": STYLES,
    "colour": tuple(COLOURS),
    "pattern": PATTERNS,
}
NOTHING: Final = -1
"""The label of what a picture does not have, such as the main colour of a person."""

START_TEMPERATURE: Final = 0.07
PAIR_TEMPERATURE: Final = 0.1
VIEWS_IN_BATCH: Final = 3
KINDS_IN_BATCH: Final = 4
PICTURES_OF_STYLE: Final = 4
INVENTED: Final = 0.6
"""Share of the groups whose style is an invented one."""


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """Pictures, a caption of each in word numbers, and the number of the true value of each attribute."""

    pixels: Float[Tensor, "b 3 h w"]
    tokens: Int[Tensor, "b t"]
    labels: Mapping[str, Int[Tensor, " b"]]
    weight: Float[Tensor, " b"]
    concept: Int[Tensor, " b"]


@dataclass(frozen=True, slots=True)
class GroupBatch:
    """Pictures and the group that each belongs to; those of one group are to be close."""

    pixels: Float[Tensor, "b 3 h w"]
    group: Int[Tensor, " b"]
    weight: Float[Tensor, " b"]
    concept: Int[Tensor, " b"]


def vocabulary(split: Split, scenes: int = 4000) -> tuple[str, ...]:
    """The words of the captions of a split's first scenes, sorted."""
    texts = (caption(scene_at(key, split), rng_for("vocabulary", key)) for key in range(scenes))
    return tuple(sorted({word for text in texts for word in words_of(text)}))


def labels_of(split: Split, count: int) -> dict[str, Int[Tensor, " n"]]:
    """The numbers of the true values of a split's first scenes, NOTHING where a scene has none."""
    true = [facts(scene_at(key, split)) for key in range(count)]
    return {
        name: torch.tensor([values.index(v) if (v := getattr(f, name)) is not None else NOTHING for f in true])
        for name, values in ATTRIBUTES.items()
    }


def reading_batches(
    bank: Pictures, split: Split, words: Sequence[str], batch_size: int, seed: int
) -> Callable[[int], Sequence[ReadingBatch]]:
    """Step -> one batch of scenes with freshly worded captions, every scene once before any comes again."""
    labels = labels_of(split, len(bank))

    def batches_at(step: int) -> Sequence[ReadingBatch]:
        chosen = in_rounds(len(bank), batch_size, seed, step)
        texts = [caption(scene_at(key, split), rng_for("judge", seed, step, key)) for key in chosen.tolist()]
        return [
            ReadingBatch(
                to_pixels(bank[chosen.numpy()]),
                tokenize(texts, words),
                {name: numbers[chosen] for name, numbers in labels.items()},
                *even(batch_size),
            )
        ]

    return batches_at


def subject_batches(bank: Pictures, split: Split, batch_size: int, seed: int) -> Callable[[int], Sequence[GroupBatch]]:
    """Step -> three views each of subjects of four kinds, so that most strangers in a batch are of the same kind."""
    kinds: dict[str, list[int]] = {}
    for number in range(len(bank) // VIEWS):
        kinds.setdefault(subject_at(number, split).kind, []).append(number)
    names, per_kind = sorted(kinds), batch_size // (KINDS_IN_BATCH * VIEWS_IN_BATCH)

    def batches_at(step: int) -> Sequence[GroupBatch]:
        rng = rng_for("subjects", seed, step)
        chosen = rng.sample(names, KINDS_IN_BATCH)
        numbers = [n for name in chosen for n in rng.sample(kinds[name], min(per_kind, len(kinds[name])))]
        return [_views(bank, numbers, [rng.sample(range(VIEWS), VIEWS_IN_BATCH) for _ in numbers])]

    return batches_at


def face_batches(bank: Pictures, batch_size: int, seed: int) -> Callable[[int], Sequence[GroupBatch]]:
    """Step -> three views each of some faces."""

    def batches_at(step: int) -> Sequence[GroupBatch]:
        rng = rng_for("faces", seed, step)
        numbers = rng.sample(range(len(bank) // VIEWS), batch_size // VIEWS_IN_BATCH)
        return [_views(bank, numbers, [rng.sample(range(VIEWS), VIEWS_IN_BATCH) for _ in numbers])]

    return batches_at


def style_batches(bank: Pictures, split: Split, batch_size: int, seed: int) -> Callable[[int], Sequence[GroupBatch]]:
    """Step -> groups of four unrelated scenes in one style, which for most groups is changed into an invented one."""
    labels = labels_of(split, len(bank))["style"].numpy()
    members = [np.flatnonzero(labels == number).tolist() for number in range(len(STYLES))]

    def batches_at(step: int) -> Sequence[GroupBatch]:
        rng, noise = rng_for("styles", seed, step), rng_at(seed, step, stream="styles")
        pixels, groups = [], []
        for number in range(batch_size // PICTURES_OF_STYLE):
            style = rng.randrange(len(STYLES))
            pictures = to_pixels(bank[rng.sample(members[style], PICTURES_OF_STYLE)])
            is_invented = rng.random() < INVENTED
            pixels.append(invented(pictures, noise) if is_invented else pictures)
            groups += [len(STYLES) + number if is_invented else style] * PICTURES_OF_STYLE
        together = torch.cat(pixels).contiguous(memory_format=torch.channels_last)
        return [GroupBatch(together, torch.tensor(groups), *even(len(groups)))]

    return batches_at


class Temperature(nn.Module):
    """The learned sharpness of a contrast between pictures and texts.

    Source: Radford et al. 2021 (arXiv 2103.00020), section 2.3.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(START_TEMPERATURE)))

    def forward(self) -> Float[Tensor, ""]:
        """What cosines are multiplied by, at most 100."""
        return self.log_scale.clamp(max=math.log(100)).exp()


def reading(reader: Reader, text: TextTower, temperature: Temperature) -> Objective[ReadingBatch]:
    """Cross-entropy of every attribute, and the contrast of each picture with the captions of the batch and back."""

    def loss(batch: ReadingBatch, rng: Generator) -> Float[Tensor, " b"]:
        features, logits = reader(weathered(batch.pixels, rng))
        named = [
            functional.cross_entropy(logits[name], batch.labels[name], reduction="none", ignore_index=NOTHING)
            for name in logits
        ]
        return torch.stack(named).sum(0) + contrast(temperature() * features @ text(batch.tokens).T)

    return loss


def contrast(similarity: Float[Tensor, "b b"]) -> Float[Tensor, " b"]:
    """How hard each picture is to find by its own text, and each text by its own picture: the mean of the two.

    similarity: of picture i, in its row, with text j. Source: Radford et al. 2021 (arXiv 2103.00020), figure 3.
    """
    own = torch.arange(len(similarity))
    by_picture, by_text = (functional.cross_entropy(s, own, reduction="none") for s in (similarity, similarity.T))
    return 0.5 * (by_picture + by_text)


def telling_apart(encoder: Encoder, prepare: Callable[[Tensor, Generator], Tensor]) -> Objective[GroupBatch]:
    """Supervised contrast: pictures of one group close, all others of the batch apart.

    prepare: (pixels, rng) -> pixels as the encoder shall see them.
    Source: Khosla et al. 2020 (arXiv 2004.11362), eq. 2.
    """

    def loss(batch: GroupBatch, rng: Generator) -> Float[Tensor, " b"]:
        features = encoder(prepare(batch.pixels, rng))
        itself = torch.eye(len(features), dtype=torch.bool)
        logits = (features @ features.T / PAIR_TEMPERATURE).masked_fill(itself, -torch.inf)
        fellows = (batch.group[:, None] == batch.group) & ~itself
        log_share = logits.log_softmax(1).masked_fill(~fellows, 0.0)
        return -log_share.sum(1) / fellows.sum(1)

    return loss


def weathered(pixels: Float[Tensor, "b 3 h w"], rng: Generator) -> Float[Tensor, "b 3 h w"]:
    """Moved, and a little out of focus and noisy, as generated pictures are."""
    moved_pixels = moved(pixels, rng)
    blur, noise = torch.rand(2, len(pixels), 1, 1, 1, generator=rng)
    smooth = functional.avg_pool2d(functional.pad(moved_pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    mixed = torch.lerp(moved_pixels, smooth, 0.7 * blur.square())
    return mixed + 0.08 * noise.square() * torch.randn(pixels.shape, generator=rng)


def moved(pixels: Float[Tensor, "b 3 h w"], rng: Generator) -> Float[Tensor, "b 3 h w"]:
    """Half of the pictures mirrored, all shifted alike by up to 3 pixels each way."""
    is_mirrored = torch.rand(len(pixels), 1, 1, 1, generator=rng) < 0.5
    pixels = torch.where(is_mirrored, pixels.flip(3), pixels)
    top, left = torch.randint(0, 7, (2,), generator=rng).tolist()
    padded = functional.pad(pixels, (3, 3, 3, 3), mode="replicate")
    height, width = pixels.shape[2:]
    return padded[:, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)


def _views(bank: Pictures, numbers: Sequence[int], views: Sequence[Sequence[int]]) -> GroupBatch:
    rows = [number * VIEWS + view for number, seen in zip(numbers, views, strict=True) for view in seen]
    groups = torch.tensor(numbers).repeat_interleave(VIEWS_IN_BATCH)
    return GroupBatch(to_pixels(bank[rows]), groups, *even(len(rows)))
