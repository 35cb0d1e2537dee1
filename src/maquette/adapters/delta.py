"""The change of each layer's weight, factored as it was trained or read, and what it comes to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor


class Place(NamedTuple):
    """One layer: the family's name of its module ("denoiser", "text_encoder"), and the path inside that module."""

    module: str
    path: str


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """scale * up @ down. Convolutions keep their kernel in ``down``: (r, in, k, k) and (out, r, 1, 1)."""

    up: Float[Tensor, "out r *_"]
    down: Float[Tensor, "r in *_"]
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Loha:
    """scale * (w1_a @ w1_b) * (w2_a @ w2_b), elementwise in the middle.

    With the cores ``t1`` and ``t2`` (r, r, k, k) of a convolution, a and b hold one row per rank: (r, out), (r, in).
    Source: Hyeon-Woo et al. 2021 (arXiv 2108.06098); names as in LyCORIS files.
    """

    w1_a: Float[Tensor, "_ _"]
    w1_b: Float[Tensor, "_ _"]
    w2_a: Float[Tensor, "_ _"]
    w2_b: Float[Tensor, "_ _"]
    scale: float
    t1: Float[Tensor, "r r k k"] | None = None
    t2: Float[Tensor, "r r k k"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Lokr:
    """scale * kron(w1, w2), either of which may be a product a @ b, and w2 one around a core ``t2`` (r, r, k, k).

    Source: Yeh et al. 2023 (arXiv 2309.14859); names as in LyCORIS files.
    """

    scale: float
    w1: Float[Tensor, "_ _"] | None = None
    w1_a: Float[Tensor, "_ _"] | None = None
    w1_b: Float[Tensor, "_ _"] | None = None
    w2: Float[Tensor, "_ _ *_"] | None = None
    w2_a: Float[Tensor, "_ _"] | None = None
    w2_b: Float[Tensor, "_ _"] | None = None
    t2: Float[Tensor, "r r k k"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """The change itself."""

    diff: Float[Tensor, "out *_"]
    scale: float = 1.0


Factors = LowRank | Loha | Lokr | Dense
F = TypeVar("F", bound=Factors)


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What an adapter does to one layer: W + change, and with ``magnitude`` rescaled to those lengths (DoRA).

    magnitude: one length per output row (axis "out"), or per input column (axis "in", as some other tools train it).
    """

    factors: Factors
    magnitude: Float[Tensor, " n"] | None = None
    axis: Literal["out", "in"] = "out"


Delta = Mapping[Place, Update]


def mapped(factors: F, change: Callable[[Tensor], Tensor]) -> F:
    """The same factors with each of their tensors changed."""
    tensors = {f.name: value for f in fields(factors) if isinstance(value := getattr(factors, f.name), Tensor)}
    return replace(factors, **{name: change(value) for name, value in tensors.items()})


def product(factors: Factors, shape: torch.Size) -> Float[Tensor, "*_"]:
    """What the factors multiply out to, in fp64 and in the shape of the layer's weight."""
    return multiplied(mapped(factors, lambda tensor: tensor.detach().double())).reshape(shape)


def multiplied(factors: Factors) -> Tensor:
    """What the factors multiply out to, as they are: a kernel may stay flattened into the columns."""
    match factors:
        case LowRank(up, down, scale):
            return scale * up.flatten(1) @ down.flatten(1)
        case Loha(w1_a, w1_b, w2_a, w2_b, scale, t1, t2):
            return scale * around(t1, w1_a, w1_b) * around(t2, w2_a, w2_b)
        case Lokr() as lokr:
            return lokr.scale * kronecker(first_factor(lokr), second_factor(lokr))
        case Dense(diff, scale):
            return scale * diff


def around(core: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    """a @ b, or the convolution kernel that a core of rank r spans with one row of a and of b per rank."""
    return a @ b if core is None else torch.einsum("ijkl,ip,jr->prkl", core, a, b)


def first_factor(lokr: Lokr) -> Tensor:
    """The left factor of a Kronecker product, multiplied out."""
    if lokr.w1 is not None:
        return lokr.w1
    assert lokr.w1_a is not None
    assert lokr.w1_b is not None
    return lokr.w1_a @ lokr.w1_b


def second_factor(lokr: Lokr) -> Tensor:
    """The right factor of a Kronecker product, multiplied out; a flattened kernel stays flattened."""
    if lokr.w2 is not None:
        return lokr.w2
    assert lokr.w2_a is not None
    assert lokr.w2_b is not None
    return around(lokr.t2, lokr.w2_a, lokr.w2_b)


def kronecker(left: Tensor, right: Tensor) -> Tensor:
    """kron(left, right), where right may have kernel axes that left lacks."""
    return torch.kron(left.reshape(*left.shape, *(1,) * (right.ndim - 2)), right.contiguous())


def updated(weight: Tensor, update: Update, strength: float = 1.0, norm_of: Tensor | None = None) -> Tensor:
    """The weight after the update, in fp64.

    strength: multiplies the change, not the magnitude: 0 gives W back for plain adapters, and for DoRA the base's own
    directions at the learned lengths.
    norm_of: the base weight that the magnitude was learned for, where ``weight`` holds other updates already.
    """
    change = strength * product(update.factors, weight.shape)
    total = weight.double() + change
    if update.magnitude is None:
        return total
    base = total if norm_of is None else norm_of.double() + change
    return total * (update.magnitude.double().flatten() / lengths(base, update.axis)).reshape(view(total, update.axis))


def lengths(weight: Tensor, axis: Literal["out", "in"]) -> Float[Tensor, " n"]:
    """Euclidean length of each output row, or of each input column, over all other axes of the weight."""
    return weight.transpose(0, 0 if axis == "out" else 1).flatten(1).norm(dim=1)


def view(weight: Tensor, axis: Literal["out", "in"]) -> list[int]:
    """The shape in which one number per row or column multiplies a weight: [out, 1, ...] or [1, in, ...]."""
    position = 0 if axis == "out" else 1
    return [-1 if i == position else 1 for i in range(weight.ndim)]


def rank(factors: Factors) -> int | None:
    """The rank of the factors; None where nothing is factored, which is where files state no usable alpha either."""
    match factors:
        case LowRank(down=down):
            return down.shape[0]
        case Loha(w1_b=w1_b):
            return w1_b.shape[0]
        case Lokr(w1_b=w1_b, w2_b=w2_b):
            low = w2_b if w2_b is not None else w1_b
            return None if low is None else low.shape[0]
        case Dense():
            return None
