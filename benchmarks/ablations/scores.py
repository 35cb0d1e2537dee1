"""The lines of the results as scores by setting, each a value for every unit: a subject or style, and a seed."""

from collections.abc import Mapping, Sequence

import torch

from benchmarks.ablations.settings import BASE
from benchmarks.ablations.verdicts import Score, Unit, Values
from benchmarks.seen import mean
from maquette.evaluation.choice import Scale
from maquette.evaluation.judges import JudgeName

Scores = Mapping[str, Values]
"""By setting."""


def scores(rows: Sequence[dict], score: Score, judge: JudgeName, steps: int) -> Scores:
    """One score of all runs of so many steps, by one judge; fine detail is measured and not judged.

    The balance is that by which checkpoints are chosen (docs/evaluation.md), on the scale of each thing's own base row;
    runs without that row, and without the score, are left out.
    """
    ends = {(row["about"], row["number"]): row for row in rows if row["setting"] == BASE}
    found: dict[str, dict[Unit, float]] = {}
    for row in rows:
        if row["steps"] != steps or row["setting"] == BASE:
            continue
        value = value_of(row, score, judge, ends.get((row["about"], row["number"])))
        if value is not None:
            found.setdefault(row["setting"], {})[row["number"], row["seed"]] = value
    return found


def value_of(row: dict, score: Score, judge: JudgeName, base: dict | None) -> float | None:
    """One score of one run."""
    match score:
        case "detail":
            return mean(row["detail"])
        case "class":
            return mean(row["class"][judge]) if "class" in row else None
        case "like" | "prompt":
            return mean(row[judge][score])
        case "balance":
            if base is None:
                return None
            scale = Scale(**{end: base[judge][end] for end in ("untouched", "real", "ignored", "followed")})
            like, prompt = (torch.tensor([mean(row[judge][key])], dtype=torch.float64) for key in ("like", "prompt"))
            return float(scale.balance(like, prompt))
