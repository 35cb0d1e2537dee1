"""Adapters in use: worn by a family for a while, or fused into its weights for good."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from peft import PeftConfig
from torch import Tensor, nn

from maquette.adapters.delta import Delta, Dense, Loha, Lokr, LowRank, Place, Update, rank, updated
from maquette.adapters.injected import Layer, inject, place
from maquette.adapters.lora import peft_lora
from maquette.adapters.lycoris import peft_loha, peft_lokr
from maquette.adapters.targets import leaves
from maquette.errors import ModelError
from maquette.families.quantized import is_quantized
from maquette.families.weights import some


@dataclass(frozen=True, slots=True, eq=False)
class Worn:
    """An adapter and how strongly it is used: 0 not at all, 1 as trained, more to exaggerate.

    A DoRA keeps its learned lengths at every strength: at 0 it has the base's directions, not the base itself.
    """

    delta: Delta
    strength: float = 1.0


@contextmanager
def worn(modules: Mapping[str, nn.Module], adapters: Sequence[Worn]) -> Generator[None]:
    """A family with adapters, until the block is left; then it is as it was, to the last bit.

    They run through the very layers that trained them, so pictures are those of the training's previews. What those
    layers cannot express (plain differences, lengths per input) is added to the base's weights instead. Several
    adapters of one layer follow each other in the order given; without DoRA the order makes no difference.
    The base is frozen meanwhile, as in training: torch rounds differently for weights that want a gradient.
    """
    wanted = [param for module in modules.values() for param in module.parameters() if param.requires_grad]
    before = {name: dict(module.named_modules()) for name, module in modules.items()}
    known = {layer: tuple(layer.scaling) for layer in adapted(modules)}
    active = {layer: tuple(layer.active_adapters) for layer in known}
    for param in wanted:
        param.requires_grad = False
    kept: list[tuple[Tensor, Tensor]] = []
    try:
        kept += add_to_weights(modules, adapters)
        for i, one in enumerate(adapters):
            for name, updates in by_module(one.delta).items():
                inject_all(modules[name], updates, one.strength, f"worn{i}")
        for layer in adapted(modules):
            new = [name for name in layer.scaling if name not in known.get(layer, ())]
            layer.set_adapter([*active.get(layer, ()), *new])
            layer.requires_grad_(requires_grad=False)
        yield
    finally:
        for name, module in modules.items():
            take_off(module, before[name], known)
        for layer, names in active.items():
            layer.set_adapter(list(names))
        for weight, value in kept:
            weight.data.copy_(value)
        for param in wanted:
            param.requires_grad = True


def adapted(modules: Mapping[str, nn.Module]) -> list[Layer]:
    """Every layer that has an adapter now, also where one adapted layer wraps another."""
    return [layer for module in modules.values() for layer in module.modules() if isinstance(layer, Layer)]


def by_module(delta: Delta) -> dict[str, dict[str, Update]]:
    """The updates of each module, by path."""
    split: dict[str, dict[str, Update]] = {}
    for at, update in delta.items():
        split.setdefault(at.module, {})[at.path] = update
    return split


def is_injectable(update: Update) -> bool:
    """Whether peft has a layer for an update."""
    match update.factors:
        case LowRank():
            return update.magnitude is None or update.axis == "out"
        case Loha() | Lokr():
            return update.magnitude is None
        case Dense():
            return False


def add_to_weights(modules: Mapping[str, nn.Module], adapters: Sequence[Worn]) -> list[tuple[Tensor, Tensor]]:
    """Change the base's weights by the updates that no layer expresses; give what they were before."""
    refuse_written_to(modules, adapters)
    kept: dict[Place, tuple[Tensor, Tensor]] = {}
    known = {name: leaves(module) for name, module in modules.items()}
    for one in adapters:
        for at, update in one.delta.items():
            if not is_injectable(update):
                weight = known[at.module][at.path].weight
                _, original = kept.setdefault(at, (weight, weight.detach().clone()))
                weight.data.copy_(updated(weight.detach(), update, one.strength, norm_of=original))
    return list(kept.values())


def refuse_written_to(modules: Mapping[str, nn.Module], adapters: Sequence[Worn]) -> None:
    """Raise ModelError, naming layers, where updates can only be added to weights that are held in codes."""
    places = {at for one in adapters for at, update in one.delta.items() if not is_injectable(update)}
    held = [at.path for at in places if is_quantized(leaves(modules[at.module])[at.path])]
    if held:
        raise ModelError(
            f"The base is quantized, and an adapter changes weights in a way that only whole ones can take: "
            f"{some(sorted(held))}. Use it without (--quantize none), or fuse it into its base."
        )


def inject_all(module: nn.Module, updates: Mapping[str, Update], strength: float, name: str) -> None:
    """Inject what peft has layers for, each kind under a name of its own."""
    kinds: dict[str, dict[str, Update]] = {}
    for path, update in updates.items():
        if is_injectable(update):
            kind = "dora" if update.magnitude is not None else type(update.factors).__name__.lower()
            kinds.setdefault(f"{name}_{kind}", {})[path] = update
    for adapter, group in kinds.items():
        for path, layer in inject(module, peft_config(group), dict.fromkeys(group, 1.0), adapter).items():
            place(layer, adapter, group[path])
            layer.scaling[adapter] *= strength


def peft_config(updates: Mapping[str, Update]) -> PeftConfig:
    """What peft is asked to build for updates of one kind; the shapes of LoHa and LoKr are put in afterwards."""
    first = next(iter(updates.values()))
    ranks = {path: rank(update.factors) or 1 for path, update in updates.items()}
    match first.factors:
        case Loha():
            return peft_loha(ranks)
        case Lokr():
            return peft_lokr(ranks)
        case _:
            return peft_lora(ranks, dora=first.magnitude is not None)


def take_off(module: nn.Module, before: Mapping[str, nn.Module], known: Mapping[Layer, Sequence[str]]) -> None:
    """Bring back the layers that were wrapped, and remove new adapters from those that had some already."""
    for path, layer in list(module.named_modules()):
        if isinstance(layer, Layer):
            if path in before and before[path] is not layer:
                module.set_submodule(path, before[path])
            for name in set(layer.scaling) - set(known.get(layer, layer.scaling)):
                layer.delete_adapter(name)


def fuse(modules: Mapping[str, nn.Module], adapters: Sequence[Worn]) -> None:
    """Change the base's weights by all adapters, computed in fp64 and rounded once to the weights' own precision.

    The result computes what the family computes while it wears the same adapters in the same order. Raises ModelError
    for a quantized base, whose weights cannot be written to.
    """
    if any(is_quantized(module) for module in modules.values()):
        raise ModelError("Adapters cannot be fused into a quantized base: load it with quantize = none.")
    add_to_weights(modules, adapters)
    for at in dict.fromkeys(at for one in adapters for at in one.delta):
        weight = leaves(modules[at.module])[at.path].weight
        total = weight.detach().double()
        for one in adapters:
            if at in one.delta and is_injectable(one.delta[at]):
                total = updated(total, one.delta[at], one.strength, norm_of=weight.detach())
        weight.data.copy_(total)
