"""Small adapters injected beside the frozen layers of one module, whichever kind they are."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Int
from peft import PeftConfig, inject_adapter_in_model
from peft.tuners.loha.layer import LoHaLayer
from peft.tuners.lokr.layer import LoKrLayer
from peft.tuners.lora import Conv2d as LoraConv2d
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

from maquette.adapters.base import ParamGroup
from maquette.adapters.beside import Beside
from maquette.adapters.delta import Delta, Loha, Lokr, LowRank, Place, Update
from maquette.adapters.dora import use_gram_norms
from maquette.adapters.offset import difference, offsets
from maquette.adapters.state import restore
from maquette.errors import ModelError

Layer = LoraLinear | LoraConv2d | LoHaLayer | LoKrLayer

FACTORS = {
    "lora": ("lora_A", "lora_B"),
    "loha": ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    "lokr": ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
}
"""What peft calls the factors of each kind of layer."""


@dataclass(frozen=True, slots=True, eq=False)
class Injected:
    """One adapter in one module of a family; a Trainable.

    Dropout acts inside ``routing`` alone, which is where training runs its passes, so that previews never see it.
    """

    module: str
    layers: Mapping[str, Layer]
    groups: Sequence[ParamGroup]
    adapter: str = "default"

    @property
    def touches(self) -> frozenset[str]:
        """The module whose layers were changed."""
        return frozenset({self.module})

    @contextmanager
    def routing(self, concept: Int[Tensor, " b"]) -> Generator[None]:
        """Every example trains the same factors; dropout is on until the pass is over."""
        del concept
        thinning = [layer for layer in self.layers.values() if drops(layer, self.adapter)]
        set_training(thinning, training=True)
        try:
            yield
        finally:
            set_training(thinning, training=False)

    def state_dict(self) -> dict[str, Tensor]:
        """Every factor, by module, layer and the factor's name; peft's name of the adapter is left out."""
        return {f"{self.module}.{name}": tensor.detach() for name, tensor in self._tensors().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy factors in. Raises CheckpointError, naming all of them, where names or shapes differ."""
        restore({f"{self.module}.{name}": tensor for name, tensor in self._tensors().items()}, state)

    def parameters(self) -> dict[str, nn.Parameter]:
        """The factors themselves, by layer and name."""
        return {f"{path}.{name}": p for path, layer in self.layers.items() for name, p in own(layer, self.adapter)}

    def _tensors(self) -> dict[str, Tensor]:
        """What decides the layers' output: the factors, and what is subtracted of them."""
        starts = {
            f"{at}.{name}": t for at, layer in self.layers.items() for name, t in offsets(layer, self.adapter).items()
        }
        return {**self.parameters(), **starts}

    def updates(self) -> Delta:
        """What the adapter does to each layer now; the tensors may be the adapter's own, not copies."""
        return {Place(self.module, path): update_of(layer, self.adapter) for path, layer in self.layers.items()}


def inject(
    module: nn.Module, config: PeftConfig, scales: Mapping[str, float], adapter: str = "default"
) -> dict[str, Layer]:
    """Put an adapter beside the layers that ``config`` targets, in fp32 whatever their precision.

    scales: layer -> factor of its update. Raises ModelError where peft adapted other layers than those.
    """
    inject_adapter_in_model(config, module, adapter_name=adapter)
    del (
        module.peft_config
    )  # peft's own note on the module, which makes it warn at a second adapter; the layers know all
    found = {
        path: layer for path, layer in module.named_modules() if isinstance(layer, Layer) and adapter in layer.scaling
    }
    if found.keys() != scales.keys():
        odd = ", ".join(sorted(found.keys() ^ scales.keys()))
        raise ModelError(
            f"{type(module).__name__}: peft did not adapt exactly the layers asked for; they differ in {odd}."
        )
    for path, layer in found.items():
        layer.scaling[adapter] = scales[path]
        if isinstance(layer, LoraLinear | LoraConv2d):
            for name in FACTORS["lora"]:  # a layer's second adapter peft leaves behind where the base is on "meta"
                getattr(layer, name)[adapter].to(layer.get_base_layer().weight.device)
            layer.cast_input_dtype_enabled = False  # what is as large as the layer's input stays in its precision
            if adapter in layer.lora_variant:
                use_gram_norms(layer, adapter)
            else:
                layer.lora_variant[adapter] = Beside()
        for _, param in own(layer, adapter):
            param.data = param.data.float()
            param.requires_grad_()
    set_training(found.values(), training=False)
    return found


def own(layer: Layer, adapter: str) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that one adapter added to a layer, by name without the adapter's."""
    for name, param in layer.named_parameters():
        parts = name.split(".")
        if parts[0] != "base_layer" and adapter in parts:
            yield ".".join(part for part in parts if part != adapter), param


def drops(layer: Layer, adapter: str) -> bool:
    """Whether one adapter of a layer has dropout: without, it computes the same in training as ever."""
    if isinstance(layer, LoraLinear | LoraConv2d):
        return not isinstance(layer.lora_dropout[adapter], nn.Identity)
    return bool(layer.rank_dropout[adapter] or layer.module_dropout[adapter])


def set_training(layers: Iterable[Layer], *, training: bool) -> None:
    """Switch the dropout of adapter layers, and nothing inside the base."""
    for layer in layers:
        layer.training = training
        if isinstance(layer, LoraLinear | LoraConv2d):
            layer.lora_dropout.train(training)


def update_of(layer: Layer, adapter: str) -> Update:
    """What one adapter does to a layer, read from the layer."""
    if isinstance(layer, LoraLinear | LoraConv2d):
        magnitudes = layer.lora_magnitude_vector
        magnitude = magnitudes[adapter].get_parameter("weight").flatten() if adapter in magnitudes else None
        return Update(difference(layer, adapter), magnitude)
    scale = float(layer.scaling[adapter])
    kind = "loha" if isinstance(layer, LoHaLayer) else "lokr"
    named = {name.split("_", 1)[1]: getattr(layer, name) for name in FACTORS[kind]}
    tensors = {name: by_adapter[adapter] for name, by_adapter in named.items() if adapter in by_adapter}
    return Update(Loha(scale=scale, **tensors) if kind == "loha" else Lokr(scale=scale, **tensors))


def place(layer: Layer, adapter: str, update: Update) -> None:
    """Make one adapter of a layer the given update. Other tools choose other shapes for factors of LoHa and LoKr."""
    layer.scaling[adapter] = update.factors.scale
    if isinstance(layer, LoraLinear | LoraConv2d):
        assert isinstance(update.factors, LowRank)
        values = {"lora_A": update.factors.down, "lora_B": update.factors.up, "lora_magnitude_vector": update.magnitude}
        for name, value in values.items():
            if value is not None:
                param = layer.get_parameter(f"{name}.{adapter}.weight")
                param.data = value.detach().to(param, copy=True).reshape(param.shape)
        return
    weight = layer.get_base_layer().weight
    assert isinstance(weight, Tensor)
    for name in FACTORS["loha" if isinstance(layer, LoHaLayer) else "lokr"]:
        by_adapter = getattr(layer, name)
        value = getattr(update.factors, name.split("_", 1)[1])
        if value is not None:
            by_adapter[adapter] = nn.Parameter(value.detach().to(weight.device, torch.float32, copy=True))
        elif adapter in by_adapter:
            del by_adapter[adapter]
