"""Whether one trigger calls one concept: how like the real pictures of each are the pictures that each trigger makes.

Axes: n generated pictures of one trigger, m references of one concept, d features.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import torch

from maquette.errors import DataError
from maquette.evaluation.bootstrap import mean_interval
from maquette.evaluation.metric import Features, Pictures
from maquette.evaluation.networks import Named
from maquette.evaluation.scoring import features_of
from maquette.evaluation.similarity import mean_cosines

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Bleed:
    """The bleed matrix: in each row highest on the diagonal, where every trigger calls its own concept.

    values: row i, column j is the mean cosine of the real pictures of concept i with the pictures made under trigger j,
    -1 to 1. low, high: its 95 % bootstrap interval over the pictures made; not a number for a single one. triggers: of
    the columns; those that name no concept ("no trigger") have no diagonal. network: what read the pictures.
    """

    concepts: tuple[str, ...]
    triggers: tuple[str, ...]
    values: Rows
    low: Rows
    high: Rows
    network: str

    @property
    def margins(self) -> dict[str, float]:
        """By concept, how much more the pictures of its own trigger are like it than those of the nearest other column.

        Along rows, because concepts differ in how like everything else they are.
        """
        found = {}
        for concept, row in zip(self.concepts, self.values, strict=True):
            others = [value for trigger, value in zip(self.triggers, row, strict=True) if trigger != concept]
            if concept in self.triggers and others:
                found[concept] = row[self.triggers.index(concept)] - max(others)
        return found

    @property
    def called(self) -> float:
        """The share of concepts that their own trigger calls best; 1 / columns by chance."""
        return fmean(margin > 0 for margin in self.margins.values())


def bleed(network: Named[Features], generated: Mapping[str, Pictures], references: Mapping[str, Pictures]) -> Bleed:
    """The bleed matrix of pictures made under each trigger, read by a network of unit vectors (style, instance, face).

    generated: by the name of the concept that was called, or another name for pictures that call none. references: real
    pictures by concept. Raises DataError where there is nothing to compare.
    """
    empty = [name for group in (generated, references) for name, pictures in group.items() if not pictures]
    if empty or not generated or not references:
        raise DataError(f"bleed: no pictures of {', '.join(empty) or 'any concept'}; each name needs at least one.")
    real = {name: features_of(network, pictures) for name, pictures in references.items()}
    made = {name: features_of(network, pictures) for name, pictures in generated.items()}
    cells = [[_cell(mean_cosines(made[trigger], real[concept])) for trigger in made] for concept in real]
    values, low, high = (tuple(tuple(cell[k] for cell in row) for row in cells) for k in range(3))
    return Bleed(tuple(real), tuple(made), values, low, high, network.name)


def _cell(values: torch.Tensor) -> tuple[float, float, float]:
    if len(values) == 1:
        return float(values[0]), math.nan, math.nan
    return float(values.mean()), *mean_interval(values, torch.full_like(values, 1 / len(values)))
