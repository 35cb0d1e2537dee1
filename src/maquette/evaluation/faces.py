"""Whether generated faces are the trained one, and how many pictures have no face. Axes: m references, d features."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import DataError
from maquette.evaluation.metric import EvalSet, Metric, Pictures, Score
from maquette.evaluation.networks import Networks
from maquette.evaluation.scoring import by_concept, features_of, references_of, rows_by_concept
from maquette.evaluation.similarity import paired_cosines

Likeness = Literal["distance", "cosine"]
Face = Float[Tensor, " d"]


def face_likeness(face: Face, references: Float[Tensor, "m d"], likeness: Likeness) -> float:
    """The mean over references of the distance |u - v| of unit vectors, 0 to 2, or of their cosine.

    For one pair the cosine is 1 - distance² / 2; for means it is not, so both are computed from the vectors.
    """
    if likeness == "cosine":
        return float((references @ face).mean())
    return float((references - face).norm(dim=1).mean())


def face_distance(networks: Networks) -> Metric:
    """Lower, 0 to 2: mean distance of unit face features of generated and real pictures; strangers are near √2.

    Pictures without a face do not count; if all are without, there is no score. ``faceless`` counts them.
    """
    return lambda pictures: _faces("face_distance", "distance", networks, pictures)


def face_similarity(networks: Networks) -> Metric:
    """Higher, -1 to 1: mean cosine of unit face features of generated and real pictures.

    Pictures without a face do not count; if all are without, there is no score.
    """
    return lambda pictures: _faces("face_similarity", "cosine", networks, pictures)


def faceless(networks: Networks) -> Metric:
    """Lower, 0 to the number of pictures: how many generated pictures have no face."""

    def score(pictures: EvalSet) -> Score:
        count = sum(map(len, rows_by_concept(pictures).values()))
        missing = [float(face is None) for face in networks.face.call(pictures.generated)]
        share = by_concept("faceless", networks.face.name, "lower", missing, {"all": range(count)})
        # A count, not a share, since that is what is reported.
        value, low, high = (count * number for number in (share.value, share.low, share.high))
        return Score("faceless", value, low, high, "lower", count, networks.face.name, share.per_image)

    return score


def face_prompt_score(networks: Networks) -> Metric:
    """Higher, -100 to 100: 100 times the mean cosine of image and text features of the pictures that have a face.

    The CLIP score of a course's homework on faces, where CLIP reads: torchmetrics' without its floor at 0.
    """

    def score(pictures: EvalSet) -> Score:
        rows = rows_by_concept(pictures)
        faces = networks.face.call(pictures.generated)
        _require_faces("face_prompt_score", faces, networks)
        shown, asked = features_of(networks.image, pictures.generated), features_of(networks.text, pictures.prompts)
        cosines = (100 * paired_cosines(shown, asked)).tolist()
        values = [None if face is None else value for face, value in zip(faces, cosines, strict=True)]
        return by_concept("face_prompt_score", networks.image.name, "higher", values, rows)

    return score


def _faces(name: str, likeness: Likeness, networks: Networks, pictures: EvalSet) -> Score:
    rows = rows_by_concept(pictures)
    references = references_of(rows, pictures)
    found = [_double(face) for face in networks.face.call(pictures.generated)]
    _require_faces(name, found, networks)
    values: list[float | None] = [None] * len(found)
    warnings: list[str] = []
    for concept, of_concept in rows.items():
        real, missing = _reference_faces(concept, references[concept], networks)
        if missing:
            warnings.append(f"{missing} of {len(references[concept])} reference pictures of {concept} have no face")
        for row in of_concept:
            face = found[row]
            values[row] = None if face is None else face_likeness(face, real, likeness)
    better = "lower" if likeness == "distance" else "higher"
    return by_concept(name, networks.face.name, better, values, rows, tuple(warnings))


def _require_faces(name: str, found: Sequence[Face | None], networks: Networks) -> None:
    if all(face is None for face in found):
        raise DataError(
            f"all {len(found)} generated pictures are without a face, so there is no {name}: 0 would pass for "
            f"a measured one. Look at the pictures; if they do show faces, {networks.face.name} does not find them."
        )


def _reference_faces(concept: str, pictures: Pictures, networks: Networks) -> tuple[Float[Tensor, "m d"], int]:
    faces = [face for each in networks.face.call(pictures) if (face := _double(each)) is not None]
    if not faces:
        raise DataError(
            f"none of the {len(pictures)} reference pictures of {concept} has a face that {networks.face.name} finds. "
            "Use pictures with a visible face, another face network, or leave face metrics out."
        )
    return torch.stack(faces), len(pictures) - len(faces)


def _double(face: Face | None) -> Face | None:
    return None if face is None else face.double()
