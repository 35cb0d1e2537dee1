"""Whether two things differ by more than chance: differences of pictures with the same prompt and seed."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from maquette.evaluation.bootstrap import mean_interval
from maquette.evaluation.metrics import COUNTS, POOLED, WITHIN_PROMPTS
from maquette.evaluation.scoring import equal_weights
from maquette.runs.scores import Difference, Evaluation, Measured, Shot

Verdict = Literal["better", "worse", "equal within noise", "no score"]


@dataclass(frozen=True, slots=True)
class _Pair:
    """The difference of two pictures of the same prompt and seed.

    concept: "" where the metric pools them. unit: what is drawn at once, the picture or its prompt.
    """

    concept: str
    unit: Hashable
    value: float


def differences(evaluations: Sequence[Evaluation]) -> tuple[Difference, ...]:
    """How every evaluation but the first differs from the first, metric by metric."""
    first, *others = evaluations
    return tuple(difference(other, first, score.name) for other in others for score in first.scores)


def difference(one: Evaluation, other: Evaluation, metric: str) -> Difference:
    """one - other, in one metric.

    With a value for each picture, the mean difference of pairs of the same prompt and seed, every concept counting the
    same unless the metric pools them (``POOLED``), and its bootstrap interval over pairs: what the prompts have in
    common cancels. Of a metric that counts pictures (``COUNTS``) it is the sum. Values that the pictures of a prompt
    share (``WITHIN_PROMPTS``) move together, so there whole prompts are drawn. A metric of the whole set has no pairs,
    and a single prompt cannot be drawn from; there the ends of the two intervals are subtracted, which is wider than it
    need be.
    """
    a, b = one.score(metric), other.score(metric)
    if not (a.is_score and b.is_score):
        return Difference(one.name, other.name, metric, math.nan, math.nan, math.nan, "no score", is_paired=False)
    pairs = _pairs(one.shots, other.shots, metric)
    if len({pair.unit for pair in pairs}) < 2:
        low, high = a.low - b.high, a.high - b.low
        return Difference(
            one.name, other.name, metric, a.value - b.value, low, high, verdict(low, high, a), is_paired=False
        )
    weights = equal_weights(_rows([pair.concept for pair in pairs]))
    times = len(pairs) if metric in COUNTS else 1
    weighted = times * weights * torch.tensor([pair.value for pair in pairs], dtype=torch.float64)
    units = _rows([pair.unit for pair in pairs])
    shares = torch.stack([weights[rows].sum() for rows in units])
    low, high = mean_interval(torch.stack([weighted[rows].sum() for rows in units]) / shares, shares)
    mean = float(weighted.sum())
    return Difference(one.name, other.name, metric, mean, low, high, verdict(low, high, a), is_paired=True)


def verdict(low: float, high: float, score: Measured) -> Verdict:
    """What an interval of a difference says: 0 inside it is no difference that anybody could rely on."""
    if low <= 0 <= high or not (math.isfinite(low) and math.isfinite(high)):
        return "equal within noise"
    return "better" if (low > 0) == (score.better == "higher") else "worse"


def _pairs(ones: Sequence[Shot], others: Sequence[Shot], metric: str) -> list[_Pair]:
    """The differences of pictures that both have a value."""
    there = {(shot.concept, shot.text, shot.seed): shot.scores.get(metric, math.nan) for shot in others}
    pairs = []
    for number, shot in enumerate(ones):
        value = shot.scores.get(metric, math.nan) - there.get((shot.concept, shot.text, shot.seed), math.nan)
        if math.isfinite(value):
            unit = (shot.concept, shot.text) if metric in WITHIN_PROMPTS else number
            pairs.append(_Pair("" if metric in POOLED else shot.concept, unit, value))
    return pairs


def _rows(labels: Sequence[Hashable]) -> list[list[int]]:
    """The rows of each label, by their first appearance."""
    rows: dict[Hashable, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    return list(rows.values())
