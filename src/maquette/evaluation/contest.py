"""The total score of the Jittor contest on styles.

Source: the contest's scorer; the published results of its teams reproduce it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

WORST_FID = 20.0
"""A distance from which on fidelity counts nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """What the total is made of, means over the styles: similarities and shares up to 1, distances from 0 on."""

    dino: float
    histogram: float
    lpips: float
    fid: float
    clip_iqa: float
    clip_r: float

    @property
    def quality(self) -> float:
        """Q, how near the style is: 0.2 DINO + 0.4 HIST + 0.4 (1 - LPIPS)."""
        return 0.2 * self.dino + 0.4 * self.histogram + 0.4 * (1 - self.lpips)

    @property
    def guard(self) -> float:
        """P, what may not be lost for it: 0.5 CLIP-R + 0.4 (20 - min(FID, 20)) / 20 + 0.1 CLIP-IQA."""
        return 0.5 * self.clip_r + 0.4 * (WORST_FID - min(self.fid, WORST_FID)) / WORST_FID + 0.1 * self.clip_iqa

    @property
    def total(self) -> float:
        """Q x P."""
        return self.quality * self.guard


def metrics_of(mode: Literal["official", "fixed"]) -> dict[str, str]:
    """The metric of each component.

    official: colours are counted as the contest's scorer counts them, with its overflows. Its quality score, which saw
    pictures of 0 to 255 as if they were of 0 to 1, has no such twin: it is the paper's in both modes.
    """
    return {
        "dino": "subject_fidelity",
        "histogram": "colour_official" if mode == "official" else "colour",
        "lpips": "perceptual_distance",
        "fid": "frechet_64",
        "clip_iqa": "quality",
        "clip_r": "retrieval_5",
    }


def components(values: Mapping[str, float], mode: Literal["official", "fixed"]) -> Components:
    """The components out of the values of metrics, by their names."""
    return Components(**{component: values[metric] for component, metric in metrics_of(mode).items()})
