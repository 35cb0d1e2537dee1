"""How LoRA layers start where it is not at random: from the base's weights, or from what it does on the pictures."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import torch
from jaxtyping import Float
from peft.tuners.lora import Conv2d as LoraConv2d
from peft.tuners.lora import Linear as LoraLinear
from torch import Generator, Tensor, nn

from maquette.adapters.aside import aside
from maquette.adapters.base import Trainable
from maquette.adapters.beside import LoraLayer, factors
from maquette.adapters.combined import injected
from maquette.adapters.estimate import Rehearse, mean_gradients, second_moments
from maquette.adapters.offset import hold_offset, weight_of
from maquette.config.factors import (
    EvaConfig,
    GaussianConfig,
    InitConfig,
    KaimingConfig,
    LoraGaConfig,
    OloraConfig,
    PissaConfig,
)
from maquette.errors import ConfigError, ModelError
from maquette.families.weights import some

ADAPTER = "default"
Report = Callable[[int, int, str], None]
"""Told (done, of how many, which) after each layer."""


@dataclass(frozen=True, slots=True)
class LayerStart:
    """What a layer's start was taken from: its Euclidean norm, and the share of its square that the start holds.

    Of the gradient with LoRA-GA, which holds 2 * rank directions of it; of the weight with PiSSA and OLoRA; of the
    inputs (the root of their summed squares) with EVA.
    """

    norm: float
    energy: float


@dataclass(frozen=True, slots=True)
class Start:
    """How an adapter started: each layer that did not start at random, and what the person should know."""

    layers: Mapping[str, LayerStart] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def check_start(init: InitConfig, weights: Mapping[str, Tensor], ranks: Mapping[str, int]) -> None:
    """Raise ConfigError, naming the layers, where a weight has too few directions for the rank that starts from it."""
    narrow = [
        f"{path} (at most {limit(init, weights[path])})" for path in ranks if ranks[path] > limit(init, weights[path])
    ]
    if narrow and not (isinstance(init, LoraGaConfig) and init.narrow == "gaussian"):
        choice = ' or set adapter.init.narrow = "gaussian",' if isinstance(init, LoraGaConfig) else ""
        raise ConfigError(
            f'adapter.init.kind = "{init.kind}": the rank is too high for {len(narrow)} layers: {some(narrow)}. Lower '
            f"adapter.rank, give these layers a lower one in adapter.rank_pattern,{choice} or choose another start."
        )


def limit(init: InitConfig, weight: Tensor) -> float:
    """The highest rank that a layer can have under a start; infinite where it starts at random."""
    rows, columns = weight.shape[0], weight.numel() // weight.shape[0]
    match init:
        case GaussianConfig() | KaimingConfig():
            return math.inf
        case LoraGaConfig():
            return min(rows, columns) // 2
        case PissaConfig() | OloraConfig():
            return min(rows, columns) if weight.ndim == 2 else math.inf
        case EvaConfig():
            return columns if weight.ndim == 2 else math.inf
        case _:
            assert_never(init)


def is_special(init: InitConfig, weight: Tensor, rank: int) -> bool:
    """Whether a layer starts in the special way of ``init``, and not as gaussian does."""
    if isinstance(init, GaussianConfig | KaimingConfig):
        return False
    return rank <= limit(init, weight) if isinstance(init, LoraGaConfig) else weight.ndim == 2


def lora_layers(trainable: Trainable) -> dict[str, LoraLayer]:
    """The layers beside which there are two factors, by module and path."""
    return {
        f"{part.module}.{path}": layer
        for part in injected(trainable)
        for path, layer in part.layers.items()
        if isinstance(layer, LoraLinear | LoraConv2d)
    }


def special_layers(layers: Mapping[str, LoraLayer], init: InitConfig) -> dict[str, LoraLayer]:
    """Those of the layers that start in the special way of ``init``."""
    return {name: layer for name, layer in layers.items() if is_special(init, weight_of(layer), layer.r[ADAPTER])}


def start(
    trainable: Trainable, init: InitConfig, rehearse: Rehearse, rng: Generator, report: Report | None = None
) -> Start:
    """Give freshly attached LoRA layers the starting values that need more than a layer's shape.

    rehearse: passes over the run's own batches. rng: for the directions in which large gradients are probed. Does
    nothing for starts at random. The base's weights are as they were afterwards, to the bit.
    Raises ModelError where gradients or inputs are not finite.
    """
    layers = lora_layers(trainable)
    special = special_layers(layers, init)
    started: dict[str, LayerStart] = {}
    for name, told in each_start(trainable, init, special, rehearse, rng):
        if not math.isfinite(told.norm):
            raise ModelError(
                f'adapter.init.kind = "{init.kind}": what {name} should start from is not finite. Set model.precision '
                'to "bf16" or "fp32", or choose another start.'
            )
        started[name] = told
        if report is not None:
            report(len(started), len(special), name)
    left = [] if isinstance(init, GaussianConfig | KaimingConfig) else [name for name in layers if name not in special]
    return Start(started, warnings_of(init, left))


def each_start(
    trainable: Trainable, init: InitConfig, layers: Mapping[str, LoraLayer], rehearse: Rehearse, rng: Generator
) -> Iterable[tuple[str, LayerStart]]:
    """Start the layers one by one, and tell of each."""
    match init:
        case GaussianConfig() | KaimingConfig():
            return
        case PissaConfig() | OloraConfig():
            for name, layer in layers.items():
                yield name, start_from_weight(init, layer)
        case LoraGaConfig():
            weights = {name: weight_of(layer) for name, layer in layers.items()}
            with aside(trainable):
                for name, gradient in mean_gradients(weights, rehearse, init.batches):
                    yield name, start_from_gradient(init, layers[name], gradient, rng)
        case EvaConfig():
            bases = {
                name: base for name, layer in layers.items() if isinstance(base := layer.get_base_layer(), nn.Linear)
            }
            with aside(trainable):
                for name, moment in second_moments(bases, rehearse, init.batches):
                    yield name, start_from_inputs(layers[name], moment)
        case _:
            assert_never(init)


def start_from_weight(init: PissaConfig | OloraConfig, layer: LoraLayer) -> LayerStart:
    """peft's own starting values; the base, which peft changes for them, is put back.

    Source: Meng et al. 2024 (arXiv 2404.02948) equations 2 to 4; Buyukakyuz 2024 (arXiv 2406.01775) algorithm 1.
    """
    weight = weight_of(layer)
    before = weight.data.clone()
    try:
        layer.pissa_init(ADAPTER, "pissa") if isinstance(init, PissaConfig) else layer.olora_init(ADAPTER)
    finally:
        weight.data = before
    hold_offset(layer, ADAPTER)
    down, up = (factor.detach() for factor in factors(layer, ADAPTER))
    norm = float(before.float().norm())
    return LayerStart(norm, (float((layer.scaling[ADAPTER] * up @ down).norm()) / norm) ** 2 if norm else 0.0)


def start_from_gradient(config: LoraGaConfig, layer: LoraLayer, gradient: Tensor, rng: Generator) -> LayerStart:
    """A from the first r right singular vectors of the gradient G, B from the left ones r + 1 to 2 r, both times
    outputs^(1/4) / sqrt(gamma).

    A step of gradient descent on both then changes the weight by s^2 (B B^T G + G A^T A), which is the best
    approximation of G by rank 2 r but for its size. Source: Wang et al. 2024 (arXiv 2407.05000) theorems 3.1 and 3.2;
    "ArB2r" and "stable" in the authors' code.
    """
    rank, (down, up) = layer.r[ADAPTER], factors(layer, ADAPTER)
    matrix = gradient.flatten(1).to(down.device)
    norm = float(matrix.norm())
    if not math.isfinite(norm):
        return LayerStart(norm, 0.0)
    left, values, right = leading(matrix, 2 * rank, rng)
    size = matrix.shape[0] ** 0.25 / math.sqrt(config.gamma)
    down.data.copy_((size * right[:rank]).reshape(down.shape))
    up.data.copy_((size * left[:, rank:]).reshape(up.shape))
    hold_offset(layer, ADAPTER)
    return LayerStart(norm, float(values.square().sum()) / norm**2 if norm else 0.0)


def start_from_inputs(layer: LoraLayer, moment: Float[Tensor, "n n"]) -> LayerStart:
    """A from the directions in which the inputs vary most: the first eigenvectors of their second moment."""
    rank, (down, _) = layer.r[ADAPTER], factors(layer, ADAPTER)
    total = float(moment.trace())
    if not math.isfinite(total):
        return LayerStart(total, 0.0)
    values, vectors = torch.linalg.eigh(moment)
    down.data.copy_(vectors[:, -rank:].flip(1).T)
    return LayerStart(math.sqrt(total), float(values[-rank:].sum()) / total if total else 0.0)


def leading(
    matrix: Float[Tensor, "m n"], count: int, rng: Generator
) -> tuple[Float[Tensor, "m k"], Float[Tensor, " k"], Float[Tensor, "k n"]]:
    """The first singular vectors and values; of a matrix much larger than ``count``, by subspace iteration.

    Source: Halko et al. 2011 (arXiv 0909.4061) algorithm 4.4, with twice as many probes as are asked for and four
    iterations.
    """
    if 4 * count >= min(matrix.shape):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    else:
        probes = torch.randn(matrix.shape[1], 2 * count, generator=rng).to(matrix)
        basis = torch.linalg.qr(matrix @ probes).Q
        for _ in range(4):
            basis = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.T @ basis).Q).Q
        left, values, right = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
        left = basis @ left
    return left[:, :count], values[:count], right[:count]


def warnings_of(init: InitConfig, left: list[str]) -> list[str]:
    """Which layers start at random although another start was asked for."""
    if not left:
        return []
    why = "they are narrower than twice the rank" if isinstance(init, LoraGaConfig) else "they are convolutions"
    return [f'adapter.init.kind = "{init.kind}": {len(left)} layers start as gaussian, because {why}: {some(left)}.']
