"""What a judge sees in pictures of a concept: likeness to references, and whether they show what was asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from maquette.config.running import ModelConfig
from maquette.embedded.render import render
from maquette.embedded.scene import held_out_subject, with_scene
from maquette.embedded.vocabulary import HELD_OUT_STYLES
from maquette.evaluation.judge import Judge
from maquette.evaluation.metric import Features
from maquette.generation.batch import Maker, opened
from maquette.generation.sample import Picture, Request, painter

GUIDANCE: Final = 5.0
SAMPLING_STEPS: Final = 12
"""Where the judges score the base as at 25 (mean cosine of picture and prompt 0.755 and 0.757), in half the time."""

HELD_OUT: Final = (
    "a photo of {} in the desert",
    "a photo of {} in the forest",
    "a photo of {} in the snow",
    "a photo of {} at night",
    "a photo of {} at sea",
    "an ink sketch of {} on the beach",
    "a mosaic of {} in the city",
    "an oil painting of {} in a room",
    "a crayon drawing of {} in the forest",
    "pixel art of {} on the grass",
)
"""None of these is a prompt that a run scores itself by."""


NEAR: Final[Mapping[str, str]] = {
    "neon": "chalk",
    "sepia": "photo",
    "papercut": "crayon",
    "woodcut": "ink sketch",
    "knitted": "mosaic",
    "x-ray": "blueprint",
    "risograph": "halftone",
    "low poly": "pixel art",
}
"""For each held-out style the name of a nearby one that the base knows, which new tokens start as."""


def called(style: int) -> str:
    """What a held-out style is called: its name as one word, which a placeholder of new tokens must be."""
    return HELD_OUT_STYLES[style].replace(" ", "-")


def near(styles: Sequence[int]) -> list[str]:
    """The settings with which the new tokens of held-out styles start as words that are near."""
    words = ", ".join(f'{called(style)} = "{NEAR[HELD_OUT_STYLES[style]]}"' for style in styles)
    return ['tokens.init="word"', f"tokens.words={{{words}}}"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One value for each picture: likeness, the cosine to its own prompt, and the mean cosine to the other prompts."""

    like: list[float]
    prompt: list[float]
    others: list[float]


def seen(
    judge: Judge, features: Features, references: Tensor, pictures: Sequence[Picture], texts: Sequence[str]
) -> Seen:
    """What a judge makes of pictures: as many of each text, those of one text together.

    features: what likeness is measured by; references: its vectors of real pictures.
    """
    images, each = torch.stack(list(pictures)), len(pictures) // len(texts)
    cosines = judge.image_features(images) @ judge.text_features(texts).T
    prompt = cosines.gather(1, torch.arange(len(texts)).repeat_interleave(each)[:, None])[:, 0]
    like = (features(pictures) @ references.T).mean(1)
    others = (cosines.sum(1) - prompt) / (len(texts) - 1)
    return Seen(like.tolist(), prompt.tolist(), others.tolist())


def painted(
    adapter: Path | Sequence[Path] | None,
    prompts: Sequence[str],
    seeds: Sequence[int],
    base: str | ModelConfig = "maquette-64",
) -> list[Picture]:
    """Pictures by a base with an adapter, or with several, the seeds of each prompt together."""
    adapters = [adapter] if isinstance(adapter, Path) else adapter or ()
    maker = Maker(base, [(each, 1.0) for each in adapters])
    with opened(maker) as family, painter(family) as paint:
        asked = [Request(prompt=p, seed=s, steps=SAMPLING_STEPS, guidance=GUIDANCE) for p in prompts for s in seeds]
        return [paint(request) for request in asked]


def renders(subject: int, count: int) -> Tensor:
    """Photos of a held-out subject that no run is trained on."""
    scenes = [with_scene(held_out_subject(subject), 10_000 + key, style="photo") for key in range(count)]
    return torch.from_numpy(np.stack([np.asarray(render(scene)) for scene in scenes])).permute(0, 3, 1, 2).contiguous()


def among(features: Tensor) -> float:
    """The mean cosine of two different rows."""
    cosines, count = features @ features.T, len(features)
    return float((cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1)))


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)
