"""The base itself, from the modules that carry adapters: they stand aside for a while."""

from collections.abc import Generator
from contextlib import contextmanager

from maquette.adapters.base import Trainable
from maquette.adapters.combined import injected


@contextmanager
def aside(trainable: Trainable) -> Generator[None]:
    """Inside, layers with adapters compute what the base computes, to the bit; no second copy of it is needed.

    What is trained in other ways (whole modules, learned tokens) stays as it is.
    """
    layers = [layer for part in injected(trainable) for layer in part.layers.values()]
    # peft's own switch, enable_adapters, would also change which parameters want a gradient
    before = [layer._disable_adapters for layer in layers]
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer._disable_adapters = was
