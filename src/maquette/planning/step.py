"""What one micro-batch costs, counted on the base's true shapes."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from maquette.adapters.bank import num_adapters
from maquette.adapters.base import Trainable
from maquette.adapters.estimate import removing
from maquette.data.sample import Size
from maquette.families.packed import packable, packed_bytes, pays
from maquette.planning.blank import META, Blank
from maquette.planning.costs import Costs, counting
from maquette.types import Conditioning


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Costs of forward and backward of one micro-batch, of the forward alone, and of encoding one picture.

    code_bytes, text_bytes: of one encoded picture and one embedded caption, as they are cached. packed_bytes: of frozen
    weights that are held packed as well.
    """

    both: Costs
    forward: Costs
    encoding: Costs
    code_bytes: int
    text_bytes: int
    packed_bytes: int


def step_costs(
    blank: Blank, trainable: Trainable, size: Size, rows: int, *, text_trained: bool, preserved: bool, packs: bool
) -> StepCosts:
    """Count a micro-batch of ``rows`` pictures of one size; what is trained is brought to the dtype of the products.

    preserved: the model is also asked with words of its class, and held to what the base says to them. packs: frozen
    weights are packed where that pays.
    """
    family = blank.family
    pixels = torch.empty(1, 3, *size, device=META)
    with torch.no_grad(), counting() as encoding:
        code = family.encode_images(pixels, torch.empty(1, 6, dtype=torch.long, device=META))
    tokens = {name: several(ids.to(META), rows) for name, ids in family.tokenize([""]).items()}
    with torch.no_grad():
        texts = family.embed_text(tokens)
    for group in trainable.groups:
        for param in group.params:  # as autocast has them in products; a full model's stay, and are cast there as well
            param.data = param.data.to(blank.compute)
    for module in trainable.touches:
        torch.nn.Module.to(family.modules[module], dtype=blank.compute)
    x, t = several(code.mean, rows), torch.empty(rows, device=META)
    known = {name: several(value, rows) for name, value in code.cond.items()}
    concepts = num_adapters(trainable)
    concept = torch.arange(concepts).repeat_interleave(rows // concepts)
    with trainable.routing(concept), packed_in(family.modules["denoiser"]) as packed, counting() as both:
        cond: Conditioning = {**known, **(family.embed_text(tokens) if text_trained else texts)}
        if preserved:
            with torch.no_grad():
                family.predict(x, t, cond)
            forward = replace(both)
            x, t, cond = twice(x), twice(t), {name: twice(value) for name, value in cond.items()}
            family.predict(x, t, cond).float().square().mean().backward()
        else:
            loss = family.predict(x, t, cond).float().square().mean()
            forward = replace(both)
            loss.backward()
    kept = [code.mean, *([] if code.std is None else [code.std]), *code.cond.values()]
    return StepCosts(
        both,
        forward,
        encoding,
        code_bytes=sum(t.nbytes for t in kept),
        text_bytes=sum(t.nbytes for t in texts.values()) // rows,
        packed_bytes=sum(map(packed_bytes, packed)) if packs else 0,
    )


@contextmanager
def packed_in(module: nn.Module) -> Generator[set[nn.Conv2d]]:
    """The convolutions of a module whose weights the passes inside would use packed, once they have been made."""
    met: set[nn.Conv2d] = set()

    def meet(layer: nn.Conv2d, inputs: tuple[Tensor]) -> None:
        if pays(inputs[0]):
            met.add(layer)

    with removing([layer.register_forward_pre_hook(meet) for layer in packable(module)]):
        yield met


def twice(tensor: Tensor) -> Tensor:
    """The rows of two questions in one forward pass."""
    return torch.cat([tensor, tensor])


def several(tensor: Tensor, rows: int) -> Tensor:
    """One row, so many times."""
    return tensor.expand(rows, *tensor.shape[1:]).contiguous()
