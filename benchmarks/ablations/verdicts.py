"""Paired differences between settings, and what they say of the references' claims: pure functions of numbers.

Runs are paired by what they learn and by their seed. The seeds of one subject are averaged first: what varies from one
subject to the next is what a claim has to hold against, so the bootstrap draws subjects, not runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch

from maquette.evaluation.bootstrap import mean_interval

Unit = tuple[int, int]
"""The number of a subject or style, and a seed."""

Values = Mapping[Unit, float]
Verdict = Literal["seen", "not seen", "within noise", "not measured"]
Score = Literal["balance", "like", "prompt", "detail", "class"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over subjects with its 95 % interval; units: how many runs, or pairs of runs, are in it."""

    value: float
    low: float
    high: float
    units: int


@dataclass(frozen=True, slots=True)
class Part:
    """That a score is higher (+1) or lower (-1) by one setting than by another."""

    score: Score
    setting: str
    against: str
    direction: Literal[1, -1]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a reference document says, as differences that would have to be seen."""

    said: str
    source: str
    parts: tuple[Part, ...]


CLAIMS: Final = (
    Claim("LoRA+ helps at equal steps", "S0", (Part("balance", "plus", "lora", 1),)),
    Claim("the adaptive rate helps at equal steps", "S0", (Part("balance", "adaptive", "lora", 1),)),
    Claim("larger packs raise prompt fidelity", "S0", (Part("prompt", "pack-8", "pack-1", 1),)),
    Claim("larger packs lower likeness to the style", "S0", (Part("like", "pack-8", "pack-1", -1),)),
    Claim("LoRA-GA fails", "S0", (Part("balance", "lora-ga", "lora", -1),)),
    Claim("DoRA beats LoRA at low rank", "S1", (Part("balance", "dora-4", "rank-4", 1),)),
    Claim("pivotal tuning beats plain", "S1", (Part("balance", "pivotal", "lora", 1),)),
    Claim("rank 64 smooths", "S1", (Part("detail", "rank-64", "lora", -1), Part("detail", "rank-64", "rank-4", -1))),
    Claim("class images keep the class", "S1, S3", (Part("class", "class-images", "lora", -1),)),
)


def estimate(values: Values) -> Estimate | None:
    """The mean over subjects of the means over their seeds; None for fewer than two subjects."""
    by_subject: dict[int, list[float]] = {}
    for (number, _), value in sorted(values.items()):
        by_subject.setdefault(number, []).append(value)
    if len(by_subject) < 2:
        return None
    column = torch.tensor([sum(each) / len(each) for each in by_subject.values()], dtype=torch.float64)
    low, high = mean_interval(column, torch.full_like(column, 1 / len(column)))
    return Estimate(float(column.mean()), low, high, len(values))


def paired(one: Values, other: Values) -> dict[Unit, float]:
    """The differences of the units that both have."""
    return {unit: one[unit] - other[unit] for unit in one.keys() & other.keys()}


def verdict(parts: Sequence[tuple[int, Estimate | None]]) -> Verdict:
    """What differences say of a claim, each with the direction that is claimed.

    "seen": every interval lies on the claimed side of 0. "not seen": one lies on the other side. Else the noise is as
    large as the difference, or the judges differ; "not measured" where a difference is missing.
    """
    found = [(direction, each) for direction, each in parts if each is not None]
    if len(found) < len(parts) or not parts:
        return "not measured"
    nearest = [each.low if direction > 0 else -each.high for direction, each in found]
    farthest = [each.high if direction > 0 else -each.low for direction, each in found]
    if min(nearest) > 0:
        return "seen"
    return "not seen" if min(farthest) < 0 else "within noise"
