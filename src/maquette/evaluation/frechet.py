"""The distance of two clouds of features as Gaussians (FID, FD-DINO), at any width and without a matrix root.

Axes: n generated pictures, m references, d features, q dimensions that the references span, r draws.
"""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import DataError
from maquette.evaluation.bootstrap import interval_around
from maquette.evaluation.metric import EvalSet, Features, Metric, Score
from maquette.evaluation.networks import Named, Networks
from maquette.evaluation.scoring import features_of, references_of, rows_by_concept

DRAWS: Final = 500
"""Fewer than elsewhere, since each draw takes an eigenvalue decomposition."""

FEW: Final = "{n} pictures in {d} dimensions: compare only with scores of as many pictures, as fewer make it larger"


def frechet_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """|mean x - mean y|² + tr(Cx + Cy - 2 (Cx Cy)^½), with covariances over n - 1.

    With centred rows A, B over the roots of n - 1 and m - 1, Cx Cy has the eigenvalues of (A Bᵀ)ᵀ(A Bᵀ) and zeros, so
    the trace of its root is the sum of the singular values of A Bᵀ: exact also where the covariances are singular,
    which they are whenever there are no more pictures than dimensions.

    Raises DataError for fewer than two rows or unequal widths.
    Source: Heusel et al. 2017 (arXiv 1706.08500), equation 6.
    """
    require_clouds(x, y)
    a, b = _centred(x.double()), _centred(y.double())
    shift = (x.double().mean(0) - y.double().mean(0)).square().sum()
    shared = torch.linalg.svdvals(_narrowed(a) @ _narrowed(b).T).sum()
    return max(0.0, float(shift + a.square().sum() + b.square().sum() - 2 * shared))


def frechet_interval(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> tuple[float, float]:
    """The interval of ``frechet_distance`` over the pictures of x, around its value; never below 0."""
    value = frechet_distance(x, y)
    x, y = x.double(), y.double()
    basis = _narrowed(_centred(y)).T
    crossed, norms, total = x @ basis, x.square().sum(1), _centred(y).square().sum()
    n = len(x)

    def statistic(counts: Float[Tensor, "r n"]) -> Float[Tensor, " r"]:
        means = counts @ x / n
        spread = (counts @ norms - n * means.square().sum(1)) / (n - 1)
        shift = (means - y.mean(0)).square().sum(1)
        roots = torch.stack([_shared(row, crossed) for row in counts])
        return shift + spread + total - 2 * roots

    low, high = interval_around(value, statistic, n, DRAWS)
    return max(0.0, low), high


def frechet(networks: Networks) -> Metric:
    """Lower, 0 up: Fréchet distance of distribution features of all generated and all real pictures.

    FID where Inception computes the features, usually 2048; numbers of different widths do not compare.
    """
    return lambda pictures: _between_clouds("frechet", networks.distribution, pictures)


def frechet_64(networks: Networks) -> Metric:
    """Lower, 0 up: the same of the 64 features of an early layer, as the style contest scores it.

    The network in this place says what it is; without Inception it is the one of ``frechet``.
    """
    return lambda pictures: _between_clouds("frechet_64", networks.distribution_64, pictures)


def frechet_instance(networks: Networks) -> Metric:
    """Lower, 0 to 4: Fréchet distance of instance features, unit vectors, of all generated and all real pictures.

    The idea of FD-DINOv2 (Stein et al. 2023, arXiv 2306.04675), whose own numbers are of features of any length.
    """
    return lambda pictures: _between_clouds("frechet_instance", networks.instance, pictures)


def clouds(network: Named[Features], pictures: EvalSet) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """Features of the generated pictures, and of the references of their concepts, all together."""
    references = references_of(rows_by_concept(pictures), pictures)
    parts = [features_of(network, found) for found in references.values()]
    return features_of(network, pictures.generated), torch.cat(parts)


def require_clouds(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> None:
    """Raise DataError where two clouds cannot be compared."""
    if x.shape[1] != y.shape[1]:
        raise DataError(f"features of width {x.shape[1]} and {y.shape[1]}: compute both with the same network.")
    if min(len(x), len(y)) < 2:
        raise DataError(
            f"{len(x)} generated and {len(y)} real pictures: a distance of distributions takes at least two of each. "
            "Give more pictures, or leave this metric out."
        )


def few(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> tuple[str, ...]:
    """A warning where a covariance is not of full rank, so that the distance depends most of all on the numbers."""
    n, d = min(len(x), len(y)), x.shape[1]
    return (FEW.format(n=n, d=d),) if n <= d else ()


def _between_clouds(name: str, network: Named[Features], pictures: EvalSet) -> Score:
    x, y = clouds(network, pictures)
    value, (low, high) = frechet_distance(x, y), frechet_interval(x, y)
    return Score(name, value, low, high, "lower", len(x), network.name, warnings=few(x, y))


def _centred(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return (x - x.mean(0)) / (len(x) - 1) ** 0.5


def _narrowed(a: Float[Tensor, "n d"]) -> Float[Tensor, "q d"]:
    """At most d rows with the same products aᵀa, so that singular values of products stay what they are."""
    return torch.linalg.qr(a, mode="r").R if len(a) > a.shape[1] else a


def _shared(counts: Float[Tensor, " n"], crossed: Float[Tensor, "n q"]) -> Float[Tensor, ""]:
    """The sum of singular values for pictures that count as often as said; by eigenvalues, which is faster.

    Squares lose the digits below 1e-8 of the largest, far less than what one draw differs from the next.
    """
    n = len(counts)
    rows = counts.sqrt()[:, None] * (crossed - counts @ crossed / n) / (n - 1) ** 0.5
    square = rows.T @ rows if n > crossed.shape[1] else rows @ rows.T
    return torch.linalg.eigvalsh(square).clamp(min=0).sqrt().sum()
