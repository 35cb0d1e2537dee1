"""K adapters behind one forward pass of a frozen base: every example trains its own concept's, as in a run of its own.

Axes: b batch, k concepts, r rank, n rows of one concept times whatever lies between batch and features.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from peft.tuners.lora import Conv2d as LoraConv2d
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.nn import functional

from maquette.adapters.base import ParamGroup, Trainable
from maquette.adapters.beside import LoraLayer, factors
from maquette.adapters.combined import Attached, injected
from maquette.adapters.injected import Layer, drops, set_training
from maquette.errors import CheckpointError, ModelError


def adapter_of(concept: int) -> str:
    """What the layers call the factors of a concept."""
    return f"concept{concept}"


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """What is trained of each concept, on the same layers; a Trainable.

    Outside ``routing`` and ``as_concept`` no adapter acts, and the family is its base. Groups of different concepts
    have different clip keys, so that nothing of one reaches another.
    """

    parts: Sequence[Attached]

    @property
    def groups(self) -> Sequence[ParamGroup]:
        """The groups of all concepts, one concept after the other."""
        return [group for part in self.parts for group in part.groups]

    @property
    def touches(self) -> frozenset[str]:
        """Every module that has adapters."""
        return frozenset[str]().union(*(part.touches for part in self.parts))

    @contextmanager
    def routing(self, concept: Int[Tensor, " b"]) -> Generator[None]:
        """Every example passes through the adapter of its concept; dropout is on until the pass is over.

        Raises ModelError where examples do not lie in equal blocks, one for each concept.
        """
        order, _ = blocks(concept)
        names = [adapter_of(number) for number in order]
        layers = self.layers
        thinning = [layer for layer in layers if drops(layer, names[0])]
        with ExitStack() as stack:
            for layer in layers:
                handle = layer.register_forward_hook(partial(_changed, names))
                stack.callback(handle.remove)
            stack.callback(set_training, thinning, training=False)
            set_training(thinning, training=True)
            yield

    @contextmanager
    def as_concept(self, concept: int) -> Generator[None]:
        """Inside, the family is what a run on this concept alone would have made of it, through the same layers."""
        self.use([adapter_of(concept)])
        try:
            yield
        finally:
            self.use([])

    def use(self, names: Sequence[str]) -> None:
        """Let the layers act with these adapters, and keep all of them trainable."""
        for layer in self.layers:
            layer.set_adapter(list(names))
        for group in self.groups:
            for param in group.params:
                param.requires_grad_()

    @property
    def layers(self) -> list[LoraLayer]:
        """The layers, each of which holds the factors of all concepts."""
        found: list[Layer] = [layer for part in injected(self.parts[0]) for layer in part.layers.values()]
        return [layer for layer in found if isinstance(layer, LoraLinear | LoraConv2d)]

    def state_dict(self) -> dict[str, Tensor]:
        """The states of all concepts, each name after its concept's."""
        return {
            f"{adapter_of(k)}.{name}": t for k, part in enumerate(self.parts) for name, t in part.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Give every concept what is its own. Raises CheckpointError for what belongs to none, and as the parts do."""
        own: list[dict[str, Tensor]] = [{} for _ in self.parts]
        known = {adapter_of(number): number for number in range(len(self.parts))}
        strange = [name for name in state if name.partition(".")[0] not in known]
        if strange:
            raise CheckpointError(
                f"The saved state holds what is not trained here: {', '.join(sorted(strange))}. "
                "Resume with the configuration it was saved under, or start a new run."
            )
        for name, tensor in state.items():
            concept, _, rest = name.partition(".")
            own[known[concept]][rest] = tensor
        for part, tensors in zip(self.parts, own, strict=True):
            part.load_state_dict(tensors)


def as_concept(trainable: Trainable, concept: int) -> AbstractContextManager[None]:
    """The context in which the family is what was trained of a concept: of a bank, that one's; else all there is."""
    return trainable.as_concept(concept) if isinstance(trainable, Bank) else nullcontext()


def num_adapters(trainable: Trainable) -> int:
    """How many blocks of rows a pass has: one for each concept of a bank."""
    return len(trainable.parts) if isinstance(trainable, Bank) else 1


def blocks(concept: Int[Tensor, " b"]) -> tuple[list[int], int]:
    """The concepts of a batch in the order of their blocks, and how many examples each has.

    Raises ModelError where a concept has several blocks, or another number of examples than the others.
    """
    order, counts = torch.unique_consecutive(concept.cpu(), return_counts=True)
    concepts, sizes = order.tolist(), counts.tolist()
    if len(set(concepts)) != len(concepts) or len(set(sizes)) != 1:
        raise ModelError(
            f"A bank's batch has {sizes} examples of the concepts {concepts}, one block after the other; every concept "
            "must have one block of the same length."
        )
    return concepts, sizes[0]


def _changed(names: Sequence[str], layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The base's output with each block's own update added: a forward hook."""
    assert isinstance(layer, LoraLinear | LoraConv2d)
    return with_updates(layer, names, inputs[0], output)


def with_updates(
    layer: LoraLayer, names: Sequence[str], x: Float[Tensor, "b *_"], result: Float[Tensor, "b *_"]
) -> Float[Tensor, "b *_"]:
    """result + s B_k A_k x for the examples of each concept k, which lie in equal blocks, in one product for all.

    ``beside.with_update`` for several adapters: factors take the precision of x, the scale is put on the ranks.
    """
    pairs = [factors(layer, name) for name in names]
    down, up = (torch.stack(parts).to(x.dtype) for parts in zip(*pairs, strict=True))
    x, scale = thinned(layer, names, x), float(layer.scaling[names[0]])
    if isinstance(layer, LoraConv2d):
        return result + convolved(layer, x, scale, down, up)
    inner = torch.bmm(x.reshape(len(names), -1, x.shape[-1]), down.mT)
    blocks_of_result = result.reshape(len(names), -1, result.shape[-1])
    return torch.baddbmm(blocks_of_result, inner, up.mT, alpha=scale).view(result.shape)


def convolved(
    layer: LoraConv2d,
    x: Float[Tensor, "b c h w"],
    scale: float,
    down: Float[Tensor, "k r c _ _"],
    up: Float[Tensor, "k out r 1 1"],
) -> Float[Tensor, "b out _ _"]:
    """The updates of a convolution, as one in k groups: concepts stand beside each other as channels."""
    base = layer.get_base_layer()
    assert isinstance(base, nn.Conv2d)
    assert not isinstance(base.padding, str)
    k = down.shape[0]
    beside = x.unflatten(0, (k, -1)).transpose(0, 1).flatten(1, 2)
    inner = functional.conv2d(beside, down.flatten(0, 1), None, base.stride, base.padding, base.dilation, groups=k)
    made = functional.conv2d(scale * inner, up.flatten(0, 1), groups=k)
    return made.unflatten(1, (k, -1)).transpose(0, 1).flatten(0, 1)


def thinned(layer: LoraLayer, names: Sequence[str], x: Float[Tensor, "b *_"]) -> Float[Tensor, "b *_"]:
    """The inputs after dropout: every concept's block by the same draw, which is the one its own run would make."""
    drop = layer.lora_dropout[names[0]]
    if isinstance(drop, nn.Identity) or not layer.training:
        return x
    kept = drop(torch.ones_like(x[: x.shape[0] // len(names)]))
    return x * kept.repeat(len(names), *(1,) * (x.ndim - 1))
