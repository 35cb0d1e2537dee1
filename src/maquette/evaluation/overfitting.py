"""What scores over the steps say of a run, in plain words: overfitting above all. Pure functions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal

from maquette.evaluation.choice import Choice, Reading
from maquette.evaluation.student import mean_interval
from maquette.runs.names import DIVERSITY, DRIFT, PROMPT, Learned

RISEN: Final = 1.02
"""A validation loss this many times its lowest has risen; it is measured at fixed noise, so it hardly wavers."""

Values = Sequence[float | None]

COSTS: Final[Sequence[tuple[str, Callable[[Reading], Values], int, str]]] = (
    (PROMPT, lambda reading: reading.prompt, -1, "prompts are followed less"),
    (DIVERSITY, lambda reading: reading.diversity, -1, "pictures of one prompt became more alike"),
    (DRIFT, lambda reading: reading.drift, 1, "the rest of the base drifted further"),
)
"""What likeness may be paid with: the score, where to read it, which way is bad, and what that is in words."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean change of pictures from one step to another, with its 95 % interval, and both means."""

    before: float
    after: float
    low: float
    high: float

    @property
    def sign(self) -> Literal[-1, 0, 1]:
        """Which way it went; 0 where it may be noise."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    @property
    def words(self) -> str:
        """The two means: "0.62 to 0.48"."""
        return f"{self.before:.2f} to {self.after:.2f}"


def difference(before: Values, after: Values) -> Difference:
    """Compare the same pictures, or prompts, at two steps; those without a value at either do not count."""
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None]
    if len(pairs) < 2:
        return Difference(math.nan, math.nan, -math.inf, math.inf)
    low, high = mean_interval([b - a for a, b in pairs])
    return Difference(fmean(a for a, _ in pairs), fmean(b for _, b in pairs), low, high)


def findings(learned: Learned, base: Reading, readings: Sequence[Reading], choice: Choice) -> list[str]:
    """Sentences about a run from the scores of the base and of every checkpoint, in order."""
    chosen = next(reading for reading in readings if reading.step == choice.step)
    last = readings[-1]
    like = difference(base.like, chosen.like)
    if like.sign <= 0:
        return [
            f"Little was learned: at its best, the {learned} is no more like the training pictures than before "
            f"training ({like.words}). Train longer, or at a higher learning rate."
        ]
    if last is chosen:
        return [_to_the_end(readings, choice)]
    signs = _signs(chosen, last)
    if signs:
        gained = difference(chosen.like, last.like)
        more = "pictures still grew more like" if gained.sign > 0 else "pictures grew no more like"
        return [
            f"It overfits after step {chosen.step}: until step {last.step} {more} the training pictures "
            f"({gained.words}), but {_listed(signs)}."
        ]
    return [f"After step {chosen.step} nothing changed beyond the noise: later checkpoints are about as good."]


def loss_findings(losses: Sequence[tuple[int, float]]) -> list[str]:
    """A sentence where the validation loss has risen again after its lowest."""
    if not losses:
        return []
    step, lowest = min(losses, key=lambda pair: (pair[1], pair[0]))
    last_step, last = losses[-1]
    if last <= RISEN * lowest:
        return []
    return [
        f"The validation loss rose from {lowest:.4f} at step {step} to {last:.4f} at step {last_step}: since then the "
        "run learns its pictures by heart, and held-out ones are predicted worse."
    ]


def _signs(before: Reading, after: Reading) -> list[str]:
    changes = [(difference(part(before), part(after)), bad, words) for _, part, bad, words in COSTS]
    return [f"{words} ({change.words})" for change, bad, words in changes if change.sign == bad]


def _to_the_end(readings: Sequence[Reading], choice: Choice) -> str:
    """Where the last checkpoint is chosen, no later one shows what is lost: the first is compared with it."""
    first, last = readings[0], readings[-1]
    if first is last:
        return f"Step {last.step} alone was scored: with no other to compare, nothing tells whether it overfits."
    earlier = [value for step, value in choice.balance.items() if step < last.step]
    rises = bool(earlier) and choice.balance[last.step] > max(earlier)
    best = f"The last checkpoint, step {last.step}, is the best: more steps may do better still. " if rises else ""
    if signs := _signs(first, last):
        return f"{best}{'But since' if rises else 'Since'} step {first.step} {_listed(signs)}."
    seen = [name for name, part, *_ in COSTS if math.isfinite(difference(part(first), part(last)).low)]
    return f"{best}No sign of overfitting since step {first.step} in {_listed(seen)}."


def _listed(signs: Sequence[str]) -> str:
    return signs[0] if len(signs) == 1 else f"{', '.join(signs[:-1])} and {signs[-1]}"
