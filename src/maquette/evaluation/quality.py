"""Quality without a reference (CLIP-IQA): which of two opposite sentences a picture is nearer to."""

from typing import Final

from jaxtyping import Float
from torch import Tensor

from maquette.errors import DataError
from maquette.evaluation.metric import EvalSet, Metric, Score
from maquette.evaluation.networks import Networks
from maquette.evaluation.scoring import by_concept, features_of, rows_by_concept

GOOD_OR_BAD: Final = ("Good photo.", "Bad photo.")
"""The pair "quality" of the paper."""

SCALE: Final = 100.0
"""What CLIP's cosines are multiplied with before a softmax: its trained logit scale."""

ALIKE: Final = 1e-4


def nearer_to_first(features: Float[Tensor, "n d"], first_and_second: Float[Tensor, "2 d"]) -> Float[Tensor, " n"]:
    """The probability of the first of two sentences: a softmax over 100 times the cosines of unit vectors.

    Source: Wang et al. 2022 (CLIP-IQA, arXiv 2207.12396), equation 2.
    """
    return (SCALE * features @ first_and_second.T).softmax(1)[:, 0]


def quality(networks: Networks) -> Metric:
    """Higher, 0 to 1: mean probability that a picture is a "Good photo." rather than a "Bad photo." (CLIP-IQA).

    The paper reads pictures with a CLIP of its own (no positions, other sizes); with another network the numbers do not
    compare with its. A network that reads both sentences alike cannot tell, and is refused with DataError.
    """

    def score(pictures: EvalSet) -> Score:
        rows = rows_by_concept(pictures)
        anchors = features_of(networks.text, GOOD_OR_BAD)
        if (anchors[0] - anchors[1]).abs().max() < ALIKE:
            raise DataError(
                f"{networks.text.name} reads {GOOD_OR_BAD[0]!r} and {GOOD_OR_BAD[1]!r} alike, so it cannot tell which "
                "of the two a picture is nearer to. Use CLIP for image and text, or leave this metric out."
            )
        values = nearer_to_first(features_of(networks.image, pictures.generated), anchors).tolist()
        return by_concept("quality", networks.image.name, "higher", values, rows)

    return score
