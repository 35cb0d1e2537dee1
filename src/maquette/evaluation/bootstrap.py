"""How far a score would move with other pictures of the same kind: the bootstrap, seeded and without loops over draws.

A draw takes n of n pictures with replacement and is kept as a row of counts: how often it takes each. A statistic of
weighted pictures is then a product with the matrix of all draws. References stay as they are: what varies is what was
generated. Axes: r draws, n pictures.

Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (the percentile interval).
"""

from collections.abc import Callable, Iterator
from typing import Final

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from maquette.errors import DataError

DRAWS: Final = 2000
"""Enough for the ends of an interval to repeat within a tenth of its width from seed to seed."""

LEVEL: Final = 0.95
SEED: Final = 0
"""Every interval is drawn from the same seed: two scores of the same pictures are resampled alike."""

CELLS: Final = 4_000_000
"""Numbers that one part of the matrix of draws may hold, so that thousands of pictures fit into memory."""

Statistic = Callable[[Float[Tensor, "r n"]], Float[Tensor, " r"]]
"""From draws to the value of each; not a number where a draw has none."""


def draws_of(statistic: Statistic, n: int, draws: int = DRAWS) -> Float[Tensor, " r"]:
    """The statistic of each draw of n pictures, without the draws that have none."""
    values = torch.cat([statistic(counts) for counts in _counts(n, draws)])
    return values[values.isfinite()]


def interval(statistic: Statistic, n: int) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic of n pictures. Raises DataError for fewer than two."""
    require_spread(n)
    return ends(draws_of(statistic, n, DRAWS))


def interval_around(value: float, statistic: Statistic, n: int, draws: int) -> tuple[float, float]:
    """The interval of a statistic that grows when pictures repeat: the spread of its draws, laid around its value.

    A draw holds about 63 % of the pictures, so a distance between distributions, which few pictures overstate, is
    larger in nearly every draw than in the whole. Draws tell the spread at this number of pictures, not the place.
    """
    require_spread(n)
    found = draws_of(statistic, n, draws)
    low, high = ends(found - found.mean())
    return value + low, value + high


def mean_interval(values: Float[Tensor, " n"], weights: Float[Tensor, " n"]) -> tuple[float, float]:
    """The interval of a weighted mean of one value for each picture."""
    weighted = weights * values
    return interval(lambda counts: (counts @ weighted) / (counts @ weights), len(values))


def pair_mean(values: Float[Tensor, "n n"], weights: Float[Tensor, "n n"]) -> float:
    """The weighted mean over pairs of pictures; the weights say which are pairs, and none has a picture with itself."""
    return float((values * weights).sum() / weights.sum())


def pair_interval(values: Float[Tensor, "n n"], weights: Float[Tensor, "n n"]) -> tuple[float, float]:
    """The interval of ``pair_mean`` over pictures, not pairs: two pairs that share a picture move together.

    A picture that a draw takes twice makes no pair with itself, which would be a difference of 0 that no two pictures
    have.
    """
    weighted = values * weights

    def statistic(counts: Float[Tensor, "r n"]) -> Float[Tensor, " r"]:
        return ((counts @ weighted) * counts).sum(1) / ((counts @ weights) * counts).sum(1)

    return interval(statistic, len(values))


def ends(values: Float[Tensor, " r"]) -> tuple[float, float]:
    """The middle 95 % of some draws."""
    low, high = torch.quantile(values, torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=values.dtype)).tolist()
    return low, high


def require_spread(n: int) -> None:
    """Raise DataError where there are too few pictures to tell a score from chance."""
    if n < 2:
        raise DataError(
            f"{n} generated {'picture counts' if n == 1 else 'pictures count'} here, but a score and its interval take "
            "at least two. Generate more pictures: other seeds, or other prompts."
        )


def _counts(n: int, draws: int) -> Iterator[Float[Tensor, "r n"]]:
    generator = Generator().manual_seed(SEED)
    part = max(1, CELLS // n)
    for start in range(0, draws, part):
        rows = min(part, draws - start)
        taken = torch.randint(n, (rows, n), generator=generator)
        counts = torch.zeros(rows, n, dtype=torch.float64)
        yield counts.scatter_add_(1, taken, torch.ones(rows, n, dtype=torch.float64))
