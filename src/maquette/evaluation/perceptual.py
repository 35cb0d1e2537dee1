"""How different pictures look to a perceptual network: from their references, and from each other.

Axes: n generated pictures, p pairs.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import DataError
from maquette.evaluation.bootstrap import pair_interval, pair_mean
from maquette.evaluation.metric import EvalSet, Metric, Pictures, Score
from maquette.evaluation.networks import Distance, Named, Networks
from maquette.evaluation.scoring import by_concept, references_of, rows_by_concept

Pair = tuple[int, int]


def pairs_within(groups: Sequence[Sequence[int]]) -> list[list[Pair]]:
    """Every two members of each group that has two, each pair once."""
    return [[(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]] for rows in groups if len(rows) > 1]


def pair_weights(groups: Sequence[Sequence[Pair]], n: int) -> Float[Tensor, "n n"]:
    """A symmetric matrix under which every group of pairs counts the same, and sums to 1."""
    weights = torch.zeros(n, n, dtype=torch.float64)
    for pairs in groups:
        for a, b in pairs:
            weights[a, b] = weights[b, a] = 0.5 / (len(groups) * len(pairs))
    return weights


def perceptual_distance(networks: Networks) -> Metric:
    """Lower, 0 up: mean perceptual distance of generated and real pictures of the same concept.

    LPIPS where it measures. Source: Zhang et al. 2018 (arXiv 1801.03924).
    """

    def score(pictures: EvalSet) -> Score:
        rows = rows_by_concept(pictures)
        references = references_of(rows, pictures)
        values: list[float | None] = [None] * len(pictures.generated)
        for concept, of_concept in rows.items():
            real = references[concept]
            left = [pictures.generated[row] for row in of_concept for _ in real]
            found = distances(networks.perceptual, left, list(real) * len(of_concept))
            means = found.reshape(len(of_concept), len(real)).mean(1).tolist()
            for row, value in zip(of_concept, means, strict=True):
                values[row] = value
        return by_concept("perceptual_distance", networks.perceptual.name, "lower", values, rows)

    return score


def diversity(networks: Networks) -> Metric:
    """Higher, 0 up: mean perceptual distance of generated pictures of the same concept and prompt (DIV).

    0 where all are the same. Each prompt counts the same; a prompt with one picture does not count. Source: Ruiz et al.
    2022 (arXiv 2208.12242), with LPIPS.
    """

    def score(pictures: EvalSet) -> Score:
        rows_by_concept(pictures)
        alike: dict[tuple[str, str], list[int]] = {}
        for row, key in enumerate(zip(pictures.concepts, pictures.prompts, strict=True)):
            alike.setdefault(key, []).append(row)
        groups = pairs_within(list(alike.values()))
        pairs = [pair for group in groups for pair in group]
        if len(pairs) < 2:
            raise DataError(
                f"{len(pairs)} pairs of pictures of the same concept and prompt: diversity compares pictures that "
                "differ in their seed alone. Generate at least three of one prompt, or two each of two prompts."
            )
        table = _table(pairs, networks.perceptual, pictures.generated)
        weights = pair_weights(groups, len(table))
        low, high = pair_interval(table, weights)
        paired = weights > 0
        means = ((table * paired).sum(1) / paired.sum(1)).tolist()  # 0/0, not a number, for one of its own kind
        per_image = tuple(mean if mean == mean else None for mean in means)
        counted = int(paired.any(1).sum())
        value = pair_mean(table, weights)
        return Score("diversity", value, low, high, "higher", counted, networks.perceptual.name, per_image)

    return score


def distances(network: Named[Distance], left: Pictures, right: Pictures) -> Float[Tensor, " p"]:
    """Of each pair of pictures, in double precision."""
    return network.call(left, right).double()


def _table(pairs: Sequence[Pair], network: Named[Distance], pictures: Pictures) -> Float[Tensor, "n n"]:
    found = distances(network, [pictures[a] for a, _ in pairs], [pictures[b] for _, b in pairs])
    table = torch.zeros(len(pictures), len(pictures), dtype=torch.float64)
    a, b = torch.tensor(pairs).T
    table[a, b] = table[b, a] = found
    return table
