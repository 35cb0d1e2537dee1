"""Whether two things differ by more than chance: differences of pictures with the same prompt and seed."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch

from maquette.evaluation.bootstrap import mean_interval
from maquette.evaluation.scoring import equal_weights
from maquette.runs.scores import Difference, Evaluation, Measured, Shot

Verdict = Literal["better", "worse", "equal within noise", "no score"]


def differences(evaluations: Sequence[Evaluation]) -> tuple[Difference, ...]:
    """How every evaluation but the first differs from the first, metric by metric."""
    first, *others = evaluations
    return tuple(difference(other, first, score.name) for other in others for score in first.scores)


def difference(one: Evaluation, other: Evaluation, metric: str) -> Difference:
    """one - other, in one metric.

    With a value for each picture, the mean difference of pairs of the same prompt and seed, every concept counting the
    same, and its bootstrap interval over pairs: what the prompts have in common cancels. A metric of the whole set has
    no pairs; there the ends of the two intervals are subtracted, which is wider than it need be.
    """
    a, b = one.score(metric), other.score(metric)
    if not (a.is_score and b.is_score):
        return Difference(one.name, other.name, metric, math.nan, math.nan, math.nan, "no score", is_paired=False)
    pairs = _pairs(one.shots, other.shots, metric)
    if sum(map(len, pairs)) < 2:
        low, high = a.low - b.high, a.high - b.low
        return Difference(
            one.name, other.name, metric, a.value - b.value, low, high, verdict(low, high, a), is_paired=False
        )
    values = torch.tensor([value for group in pairs for value in group], dtype=torch.float64)
    starts = [sum(map(len, pairs[:i])) for i in range(len(pairs) + 1)]
    weights = equal_weights([range(start, stop) for start, stop in pairwise(starts)])
    low, high = mean_interval(values, weights)
    mean = float(values @ weights)
    return Difference(one.name, other.name, metric, mean, low, high, verdict(low, high, a), is_paired=True)


def verdict(low: float, high: float, score: Measured) -> Verdict:
    """What an interval of a difference says: 0 inside it is no difference that anybody could rely on."""
    if low <= 0 <= high or not (math.isfinite(low) and math.isfinite(high)):
        return "equal within noise"
    return "better" if (low > 0) == (score.better == "higher") else "worse"


def _pairs(ones: Sequence[Shot], others: Sequence[Shot], metric: str) -> list[list[float]]:
    """The differences of pictures that both have a value, by concept."""
    there = {(shot.concept, shot.text, shot.seed): shot.scores.get(metric, math.nan) for shot in others}
    groups: dict[str, list[float]] = {}
    for shot in ones:
        value = shot.scores.get(metric, math.nan) - there.get((shot.concept, shot.text, shot.seed), math.nan)
        if math.isfinite(value):
            groups.setdefault(shot.concept, []).append(value)
    return list(groups.values())
