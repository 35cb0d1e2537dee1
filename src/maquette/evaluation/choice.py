"""Which checkpoint to keep: a rule on the scores of the same prompts and seeds at every step.

Likeness and prompt fidelity are brought to one scale, on which 0 is worth nothing and 1 all that can be hoped for, and
the balance of a checkpoint is the geometric mean of both: it is high only where both are. Checkpoints are compared
picture by picture, so that what is hard or easy about a prompt or a seed falls out.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.evaluation.bootstrap import draws_of

TOLERANCE: Final = 0.5
"""Standard errors that an earlier checkpoint may lie below the best. Larger ones choose earlier than is good, 0 later.
Source: docs/evaluation.md, from ``python -m benchmarks.choice``; the idea is Breiman et al.'s (1984), who take one."""

RULE: Final = (
    "The earliest checkpoint whose balance is at most half a standard error below the highest. The balance is the "
    "geometric mean of likeness (0: as before training; 1: as much as the training pictures are like each other) and "
    "prompt fidelity (0: as if the prompt were ignored; 1: as before training)."
)

NOTHING: Final = 0.01
"""A balance up to this is nothing."""

LEAST_RANGE: Final = 0.02
"""Ends of a scale that lie closer than this tell nothing apart: that side of the balance is then taken to be 1."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The scores of one step, picture by picture, in an order that is the same at every step.

    like, prompt: of the same pictures; a picture without a value of likeness shows no face. diversity: of each prompt,
    since its pictures share their distances. drift: of those pictures that have one.
    """

    step: int
    like: tuple[float | None, ...]
    prompt: tuple[float, ...]
    diversity: tuple[float, ...] = ()
    drift: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """What the scores of the base and of the training pictures make of 0 and 1.

    untouched, real: the likeness of the base's pictures, and of the training pictures to each other. ignored, followed:
    the prompt fidelity of the base's pictures with other prompts, and with their own.
    """

    untouched: float
    real: float
    ignored: float
    followed: float

    def balance(self, like: Float[Tensor, " r"], prompt: Float[Tensor, " r"]) -> Float[Tensor, " r"]:
        """The balance of mean scores, between 0 and 1."""
        return (_placed(like, self.untouched, self.real) * _placed(prompt, self.ignored, self.followed)).sqrt()

    def of(self, reading: Reading) -> float:
        """The balance of one step."""
        like, prompt = self._columns(reading)
        return float(self.balance(like.mean(), prompt.mean()))

    def error(self, reading: Reading, other: Reading) -> float:
        """The standard error of the difference of two steps' balances, by the bootstrap over their common pictures."""
        columns = [*self._columns(reading), *self._columns(other)]
        count = len(columns[0])
        if count < 2:
            return 0.0

        def statistic(counts: Float[Tensor, "r n"]) -> Float[Tensor, " r"]:
            one, two, three, four = (counts.double() @ column / count for column in columns)
            return self.balance(one, two) - self.balance(three, four)

        return float(draws_of(statistic, count).std())

    def _columns(self, reading: Reading) -> tuple[Tensor, Tensor]:
        """A picture without a face has learned nothing of it: it counts as the base does."""
        like = [self.untouched if value is None else value for value in reading.like]
        return torch.tensor(like, dtype=torch.float64), torch.tensor(reading.prompt, dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen step, the step with the highest balance, and the balance of every step."""

    step: int
    highest: int
    balance: dict[int, float]

    @property
    def reason(self) -> str:
        """What decided it, in words."""
        here, best = self.balance[self.step], self.balance[self.highest]
        if best <= NOTHING:
            return "No checkpoint has learned anything that can be measured; this is the last one."
        if self.step == self.highest:
            return f"Its balance of {here:.2f} is the highest of {len(self.balance)} checkpoints."
        return (
            f"Its balance of {here:.2f} is within the noise of the highest, {best:.2f} at step {self.highest}, and it "
            "is earlier."
        )


def choose(readings: Sequence[Reading], scale: Scale, tolerance: float = TOLERANCE) -> Choice:
    """Apply the rule to checkpoints, in the order of their steps; the base itself is none of them."""
    balance = {reading.step: scale.of(reading) for reading in readings}
    best = max(readings, key=lambda reading: balance[reading.step])
    if balance[best.step] <= NOTHING:
        return Choice(readings[-1].step, readings[-1].step, balance)
    near = (
        reading
        for reading in readings
        if balance[best.step] - balance[reading.step] <= tolerance * scale.error(best, reading)
    )
    return Choice(next(near).step, best.step, balance)


def choose_by_loss(losses: Sequence[tuple[int, float]]) -> Choice:
    """The earliest step with the lowest validation loss, where there are no scores."""
    step, _ = min(losses, key=lambda pair: (pair[1], pair[0]))
    return Choice(step, step, dict(losses))


def is_spent(chosen: int, compared: Collection[int], patience: int) -> bool:
    """Whether as many of the steps that were compared as ``patience`` says lie behind the chosen one. 0 is patience
    without end."""
    return 0 < patience <= sum(step > chosen for step in compared)


def _placed(value: Tensor, low: float, high: float) -> Tensor:
    if high - low < LEAST_RANGE:
        return torch.ones_like(value)
    return ((value - low) / (high - low)).clamp(0, 1)
