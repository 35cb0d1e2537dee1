"""How strongly an adapter should be worn: the strengths at which the subject is there and the prompt still is."""

from collections.abc import Sequence
from dataclasses import dataclass

from maquette.errors import ConfigError, DataError
from maquette.evaluation.differences import difference
from maquette.runs.scores import Evaluation, StrengthRange

SUBJECT, PROMPT = "subject_fidelity", "prompt_fidelity"

RISE = 0.8
"""Of the most that subject fidelity rises above the weakest strength, this share is near enough to all of it."""

KEPT = 0.95
"""Prompt fidelity may fall to this share of its best before the prompt counts as lost."""


@dataclass(frozen=True, slots=True)
class Point:
    """Both fidelities at one strength; is_worse: the prompt's is lower than at the weakest by more than noise."""

    strength: float
    subject: float
    prompt: float
    is_worse: bool = True


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


def points_of(evaluations: Sequence[Evaluation]) -> list[Point]:
    """Both fidelities of a sweep, by rising strength. Raises DataError where one of them has no score."""
    ordered = sorted(evaluations, key=lambda each: each.strength or 0.0)
    for each in ordered:
        if not (each.score(SUBJECT).is_score and each.score(PROMPT).is_score):
            raise DataError(f"{each.name}: has no score to choose a strength by.")
    return [
        Point(
            each.strength or 0.0,
            each.score(SUBJECT).value,
            each.score(PROMPT).value,
            difference(each, ordered[0], PROMPT).verdict == "worse",
        )
        for each in ordered
    ]


def recommend(points: Sequence[Point]) -> StrengthRange:
    """The longest range of strengths that keeps both subject and prompt.

    At each of them subject fidelity has risen by at least 80 % of the most that it rises above the weakest strength,
    and prompt fidelity is at least 95 % of its best, or no lower than at the weakest by more than noise. Where no
    strength has both, the one that comes nearest. Both shares are ours.
    """
    least = points[0].subject
    rise = max(point.subject for point in points) - least
    best = max(point.prompt for point in points)
    if rise <= 0:
        words = "No strength brings the subject nearer than the weakest one does: the adapter has not learned it."
        return StrengthRange(points[0].strength, points[0].strength, words, is_met=False)
    margins = [_margin(point, least, rise, best) for point in points]
    rule = (
        f"subject fidelity has risen by at least {RISE:.0%} of the most it rises, and prompt fidelity is at least "
        f"{KEPT:.0%} of its best or no lower than at the weakest by more than noise"
    )
    runs = _runs([margin >= 1 for margin in margins])
    if not runs:
        nearest = max(range(len(points)), key=lambda i: margins[i])
        strength = points[nearest].strength
        words = f"No strength meets the rule ({rule}); {strength:g} comes nearest to it."
        return StrengthRange(strength, strength, words, is_met=False)
    first, last = max(runs, key=lambda run: (run[1] - run[0], run[1]))
    low, high = points[first].strength, points[last].strength
    at = f"From {low:g} to {high:g}" if low < high else f"At {low:g}"
    return StrengthRange(low, high, f"{at}, {rule}.", is_met=True)


def _margin(point: Point, least: float, rise: float, best: float) -> float:
    """How far the weaker of both demands is met; 1 or more is met."""
    kept = point.prompt / (KEPT * best) if best > 0 else 0.0
    kept = kept if point.is_worse else max(1.0, kept)
    return min((point.subject - least) / rise / RISE, kept)


def _runs(met: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last index of every unbroken run."""
    runs: list[tuple[int, int]] = []
    for i, is_met in enumerate(met):
        if is_met and runs and runs[-1][1] == i - 1:
            runs[-1] = (runs[-1][0], i)
        elif is_met:
            runs.append((i, i))
    return runs
