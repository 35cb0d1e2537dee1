"""How strongly an adapter should be worn: the strengths at which the subject is there and the prompt still is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from maquette.errors import ConfigError, DataError
from maquette.evaluation.differences import difference
from maquette.runs.scores import Evaluation, StrengthRange

LIKENESSES = ("subject_fidelity", "style_similarity", "face_similarity")
"""Metrics of what was learned, be it a subject, a style or a face."""

PROMPT = "prompt_fidelity"

RISE = 0.8
"""Of the most that likeness rises above the weakest strength, this share is near enough to all of it."""

KEPT = 0.95
"""Prompt fidelity may fall to this share of its best before the prompt counts as lost."""


@dataclass(frozen=True, slots=True)
class Point:
    """Likeness to what was learned and prompt fidelity at one strength.

    Either is nan where it has no score (no face). is_worse: the prompt is followed less than at the weakest by more
    than noise.
    """

    strength: float
    like: float
    prompt: float
    is_worse: bool = True

    @property
    def is_scored(self) -> bool:
        """Whether there is a score of both."""
        return math.isfinite(self.like) and math.isfinite(self.prompt)


def parse_strengths(text: str) -> list[float]:
    """Numbers such as "0,0.4,0.8", in rising order.

    "0,0.2,...,1.2" goes on in the same steps. Raises ConfigError for what is no list of at least two strengths, and for
    steps that do not meet the end.
    """
    parts = [part.strip() for part in text.split(",")]
    try:
        if "..." in parts or "…" in parts:
            dots = parts.index("..." if "..." in parts else "…")
            first, second, last = float(parts[dots - 2]), float(parts[dots - 1]), float(parts[dots + 1])
            if dots != 2 or len(parts) != 4 or second <= first or last <= second:
                raise ValueError
            steps = round((last - first) / (second - first))
            found = [round(first + i * (second - first), 6) for i in range(steps + 1)]
            if found[-1] != round(last, 6):
                raise ConfigError(
                    f"--strengths {text}: steps of {second - first:g} from {first:g} on do not meet {last:g}. End at a "
                    "strength that they meet, or choose steps that meet it, such as 0,0.2,...,1.2."
                )
        else:
            found = sorted({float(part) for part in parts})
    except (ValueError, IndexError, OverflowError):
        raise ConfigError(f"--strengths {text}: give numbers such as 0,0.4,0.8,1.2 or 0,0.2,...,1.2.") from None
    if len(found) < 2 or found[0] < 0 or not all(value < 10 for value in found):
        raise ConfigError(f"--strengths {text}: give at least two strengths from 0 to 10, such as 0,0.5,1.")
    return found


def likeness_of(metrics: Sequence[str]) -> str | None:
    """The metric of what was learned by which strengths are chosen: a suite's first; None where it has none."""
    return next((metric for metric in metrics if metric in LIKENESSES), None)


def recommended(evaluations: Sequence[Evaluation]) -> StrengthRange:
    """The strengths that a sweep recommends. Raises DataError where it has no scores to tell them by."""
    likeness = likeness_of([score.name for score in evaluations[0].scores])
    assert likeness is not None  # the command asks for a suite that has one
    return recommend(points_of(evaluations, likeness), likeness)


def points_of(evaluations: Sequence[Evaluation], likeness: str) -> list[Point]:
    """A sweep by rising strength. Raises DataError unless two strengths at least have both scores."""
    ordered = sorted(evaluations, key=lambda each: each.strength or 0.0)
    points = [
        Point(
            each.strength or 0.0,
            each.score(likeness).value,
            each.score(PROMPT).value,
            difference(each, ordered[0], PROMPT).verdict == "worse",
        )
        for each in ordered
    ]
    if sum(point.is_scored for point in points) < 2:
        raise DataError(
            f"{likeness} and {PROMPT} have a score at fewer than two strengths, so none can be recommended. Evaluate "
            "without --strengths to see why."
        )
    return points


def recommend(points: Sequence[Point], likeness: str) -> StrengthRange:
    """The longest range of strengths that keeps both what was learned and the prompt.

    At each of them likeness has risen by at least 80 % of the most that it rises above the weakest strength that has a
    score, and prompt fidelity is at least 95 % of its best, or no lower than at the weakest by more than noise. Where
    no strength has both, the one that comes nearest. Both shares are ours. likeness: the metric that it is.
    """
    named = likeness.replace("_", " ")
    scored = [point for point in points if point.is_scored]
    least = scored[0].like
    rise = max(point.like for point in scored) - least
    best = max(point.prompt for point in scored)
    if rise <= 0:
        words = f"No strength has more {named} than the weakest one: the adapter has not learned it."
        return StrengthRange(points[0].strength, points[0].strength, words, is_met=False, likeness=likeness)
    margins = [_margin(point, least, rise, best) for point in points]
    rule = (
        f"{named} has risen by at least {RISE:.0%} of the most it rises, and prompt fidelity is at least "
        f"{KEPT:.0%} of its best or no lower than at the weakest by more than noise"
    )
    runs = _runs([margin >= 1 for margin in margins])
    if not runs:
        nearest = max(range(len(points)), key=lambda i: margins[i])
        strength = points[nearest].strength
        words = f"No strength meets the rule ({rule}); {strength:g} comes nearest to it."
        return StrengthRange(strength, strength, words, is_met=False, likeness=likeness)
    first, last = max(runs, key=lambda run: (run[1] - run[0], run[1]))
    low, high = points[first].strength, points[last].strength
    at = f"From {low:g} to {high:g}" if low < high else f"At {low:g}"
    return StrengthRange(low, high, f"{at}, {rule}.", is_met=True, likeness=likeness)


def _margin(point: Point, least: float, rise: float, best: float) -> float:
    """How far the weaker of both demands is met; 1 or more is met, and nothing is without a score."""
    if not point.is_scored:
        return -math.inf
    kept = point.prompt / (KEPT * best) if best > 0 else 0.0
    kept = kept if point.is_worse else max(1.0, kept)
    return min((point.like - least) / rise / RISE, kept)


def _runs(met: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last index of every unbroken run."""
    runs: list[tuple[int, int]] = []
    for i, is_met in enumerate(met):
        if is_met and runs and runs[-1][1] == i - 1:
            runs[-1] = (runs[-1][0], i)
        elif is_met:
            runs.append((i, i))
    return runs
