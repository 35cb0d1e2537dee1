"""From an evaluation set to the pictures that a metric compares, and from their values to a score."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import DataError
from maquette.evaluation.bootstrap import mean_interval, require_spread
from maquette.evaluation.metric import EvalSet, Pictures, Score
from maquette.evaluation.networks import Named

Item = TypeVar("Item")
Better = Literal["higher", "lower"]


def rows_by_concept(pictures: EvalSet) -> dict[str, list[int]]:
    """Which of the generated pictures are of which concept. Raises DataError for a set that contradicts itself."""
    count = len(pictures.generated)
    if count == 0:
        raise DataError("no generated pictures: there is nothing to score. Generate some, or name a folder with some.")
    for name, values in (("prompts", pictures.prompts), ("concepts", pictures.concepts)):
        if len(values) != count:
            raise DataError(f"{count} generated pictures but {len(values)} {name}: give each picture its own.")
    rows: dict[str, list[int]] = {}
    for row, concept in enumerate(pictures.concepts):
        rows.setdefault(concept, []).append(row)
    require_spread(count)
    return rows


def features_of(network: Named[Callable[[Sequence[Item]], Tensor]], items: Sequence[Item]) -> Float[Tensor, "n d"]:
    """What a network makes of these pictures or texts, in the double precision that scores are computed in."""
    return network.call(items).double()


def references_of(concepts: Mapping[str, object], pictures: EvalSet) -> dict[str, Pictures]:
    """The real pictures of each of these concepts. Raises DataError naming every concept that has none."""
    missing = [concept for concept in concepts if not pictures.references.get(concept)]
    if missing:
        known = ", ".join(name for name, found in pictures.references.items() if found) or "none"
        raise DataError(
            f"no reference pictures of: {', '.join(missing)} (there are some of: {known}). Give the real pictures that "
            "these concepts are to resemble, such as those that were trained on."
        )
    return {concept: pictures.references[concept] for concept in concepts}


def class_images_of(pictures: EvalSet) -> dict[str, Pictures]:
    """The class pictures of each concept. Raises DataError naming every concept that has none."""
    concepts = rows_by_concept(pictures)
    missing = [concept for concept in concepts if not pictures.class_images.get(concept)]
    if missing:
        raise DataError(
            f"no class pictures of: {', '.join(missing)}. Generate pictures of the class without the trigger (a photo "
            'of a dog, where "a photo of sks dog" was trained) and give them as class_images.'
        )
    return {concept: pictures.class_images[concept] for concept in concepts}


def equal_weights(groups: Sequence[Sequence[int]]) -> Float[Tensor, " n"]:
    """Weights under which every group counts the same, however many pictures it has; groups hold each row once.

    So a mean is that of concepts, and a concept with more pictures is measured better but counts no more.
    """
    weights = torch.zeros(sum(map(len, groups)), dtype=torch.float64)
    for rows in groups:
        weights[list(rows)] = 1 / (len(groups) * len(rows))
    return weights


def by_concept(
    name: str,
    network: str,
    better: Better,
    per_image: Sequence[float | None],
    rows: Mapping[str, Sequence[int]],
    warnings: tuple[str, ...] = (),
) -> Score:
    """The mean over concepts of the means of their pictures; pictures without a value (None) do not count.

    A concept all of whose pictures are without one is missing in the mean, which a warning says.
    """
    counted = [row for row, value in enumerate(per_image) if value is not None]
    place = {row: i for i, row in enumerate(counted)}
    groups = [[place[row] for row in of_concept if row in place] for of_concept in rows.values()]
    require_spread(len(counted))
    values = torch.tensor([per_image[row] for row in counted], dtype=torch.float64)
    weights = equal_weights([group for group in groups if group])
    low, high = mean_interval(values, weights)
    value = float(values @ weights)
    lacking = [concept for (concept, _), group in zip(rows.items(), groups, strict=True) if not group]
    if lacking:
        told = f"not one picture of {', '.join(lacking)} has a value, so the score is that of the other concepts alone"
        warnings = (*warnings, told)
    return Score(name, value, low, high, better, len(counted), network, tuple(per_image), warnings)
