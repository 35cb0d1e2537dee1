"""Training that goes on from an adapter that exists already."""

from dataclasses import fields, replace
from typing import assert_never

import torch
from torch import Tensor

from maquette.adapters.base import Trainable
from maquette.adapters.combined import injected
from maquette.adapters.delta import Delta, Dense, Factors, Loha, Lokr, LowRank, Place, Update, rank
from maquette.adapters.injected import place
from maquette.errors import ConfigError
from maquette.families.weights import some


def continue_from(trainable: Trainable, delta: Delta) -> None:
    """Start adapters from the values of an earlier one, rescaled so that its effect is the same at this run's alpha.

    Raises ConfigError, naming the layers, where the earlier adapter is of another kind, rank or reach.
    """
    parts = injected(trainable)
    fresh = {at: update for part in parts for at, update in part.updates().items()}
    odd = [f"{at.path} is not in the file" for at in fresh.keys() - delta.keys()]
    odd += [f"{at.module}.{at.path} is not trained by this run" for at in delta.keys() - fresh.keys()]
    odd += [
        f"{at.path} is {shape_of(delta[at])} there" for at in fresh if at in delta and differs(fresh[at], delta[at])
    ]
    if odd:
        example = next(iter(fresh.values()))
        raise ConfigError(
            f"adapter.start_from: the adapter must have the kind, rank and layers of this run ({shape_of(example)}): "
            f"{some(sorted(odd))}. "
            "Change adapter.kind, rank and targets to the file's, or start afresh."
        )
    with torch.no_grad():
        for part in parts:
            for path, layer in part.layers.items():
                at = Place(part.module, path)
                place(layer, part.adapter, at_scale(delta[at], fresh[at].factors.scale))


def shape_of(update: Update) -> str:
    """An update's kind and rank in words."""
    kind = type(update.factors).__name__ + (" with magnitude" if update.magnitude is not None else "")
    return f"{kind} of rank {rank(update.factors)}"


def differs(one: Update, other: Update) -> bool:
    """Whether two updates are of different kinds, or have factors of different sizes."""
    kinds = [(type(u.factors), u.magnitude is None, u.axis) for u in (one, other)]
    return kinds[0] != kinds[1] or sizes(one.factors) != sizes(other.factors)


def sizes(factors: Factors) -> dict[str, torch.Size]:
    """Size of each factor as a matrix."""
    values = {field.name: getattr(factors, field.name) for field in fields(factors)}
    return {name: value.flatten(1).shape for name, value in values.items() if isinstance(value, Tensor)}


def at_scale(update: Update, scale: float) -> Update:
    """The same update stated at another scale: the difference is multiplied into one of its factors."""
    factors = update.factors
    ratio = factors.scale / scale
    match factors:
        case LowRank():
            moved = replace(factors, up=factors.up * ratio, scale=scale)
        case Loha():
            moved = replace(factors, w2_a=factors.w2_a * ratio, scale=scale)
        case Lokr():
            name = "w2" if factors.w2 is not None else "w2_b"
            moved = replace(factors, **{name: getattr(factors, name) * ratio}, scale=scale)
        case Dense():
            moved = replace(factors, scale=factors.scale)
        case _:
            assert_never(factors)
    return replace(update, factors=moved)
