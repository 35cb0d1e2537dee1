"""The distance of two clouds of features by a polynomial kernel (KID): unbiased, so that few pictures suffice.

Axes: n generated pictures, m references, d features, r draws.
"""

from typing import Final

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from maquette.evaluation.bootstrap import SEED, interval
from maquette.evaluation.frechet import clouds, require_clouds
from maquette.evaluation.metric import EvalSet, Metric, Score
from maquette.evaluation.networks import Networks

SUBSET: Final = 1000
"""Pictures that are compared at once; more are drawn in subsets, as the paper does and torchmetrics."""

SUBSETS: Final = 100


def polynomial_kernel(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """(x·y / d + 1)³. Source: Bińkowski et al. 2018 (arXiv 1801.01401), section 4."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def kernel_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """The squared maximum mean discrepancy without bias: it may fall below 0 where the two hardly differ.

    Pairs of a picture with itself are left out. Raises DataError for fewer than two rows or unequal widths.
    Source: Gretton et al. 2012 (A Kernel Two-Sample Test), equation 3.
    """
    require_clouds(x, y)
    x, y = x.double(), y.double()
    within = _mean_of_pairs(polynomial_kernel(x, x)) + _mean_of_pairs(polynomial_kernel(y, y))
    return float(within - 2 * polynomial_kernel(x, y).mean())


def kernel_interval(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> tuple[float, float]:
    """The interval of ``kernel_distance`` over the pictures of x; a picture drawn twice makes no pair with itself."""
    x, y = x.double(), y.double()
    inside = polynomial_kernel(x, x).fill_diagonal_(0)
    across, rest, n = polynomial_kernel(x, y).mean(1), _mean_of_pairs(polynomial_kernel(y, y)), len(x)

    def statistic(counts: Float[Tensor, "r n"]) -> Float[Tensor, " r"]:
        pairs = n**2 - counts.square().sum(1)
        return ((counts @ inside) * counts).sum(1) / pairs + rest - 2 * (counts @ across) / n

    return interval(statistic, n)


def subset_distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], size: int, count: int) -> Float[Tensor, " k"]:
    """``kernel_distance`` of seeded random subsets of both clouds, each without repeats."""
    generator = _generator()
    values = []
    for _ in range(count):
        ours, theirs = (torch.randperm(len(cloud), generator=generator)[:size] for cloud in (x, y))
        values.append(kernel_distance(x[ours], y[theirs]))
    return torch.tensor(values, dtype=torch.float64)


def interval_by_subset(
    value: float, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], size: int
) -> tuple[float, float]:
    """The interval of a distance of many pictures: ``kernel_interval`` of a subset of both, brought to the size of x.

    How subsets differ among themselves does not tell it: they have pictures in common, all of them where x has no more
    than fit into one. A deviation falls with the root of the number of pictures.
    """
    ours, theirs = (cloud[torch.randperm(len(cloud), generator=_generator())[:size]] for cloud in (x, y))
    shrunk, place = (len(ours) / len(x)) ** 0.5, kernel_distance(ours, theirs)
    low, high = kernel_interval(ours, theirs)
    return value + shrunk * (low - place), value + shrunk * (high - place)


def kernel(networks: Networks) -> Metric:
    """Lower, around 0 up: squared kernel distance of distribution features of all generated and all real pictures.

    KID where Inception computes the features, not multiplied by 1000 as some tables are. Of more than 1000 pictures,
    the mean over 100 subsets of 1000.
    """

    def score(pictures: EvalSet) -> Score:
        x, y = clouds(networks.distribution, pictures)
        if max(len(x), len(y)) <= SUBSET:
            value, (low, high) = kernel_distance(x, y), kernel_interval(x, y)
        else:
            value = float(subset_distances(x, y, SUBSET, SUBSETS).mean())
            low, high = interval_by_subset(value, x, y, SUBSET)
        return Score("kernel", value, low, high, "lower", len(x), networks.distribution.name)

    return score


def _generator() -> Generator:
    return Generator().manual_seed(SEED)


def _mean_of_pairs(kernel: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    n = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
