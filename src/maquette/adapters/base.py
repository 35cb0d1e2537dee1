"""What is trained: parameters, how they are saved, and what they make uncacheable."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Int
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class ParamGroup:
    """Parameters that share a learning rate.

    halt_at: optimiser step from which they no longer move, bit for bit; None trains them to the end.
    clip: groups with the same key have their gradient norm clipped together (packed concepts use one key each, so that
    packing changes nothing).
    """

    name: str
    params: Sequence[nn.Parameter]
    lr: float
    weight_decay: float = 0.0
    halt_at: int | None = None
    clip: str = "run"

    def is_active(self, step: int) -> bool:
        """Whether the parameters move in optimiser step ``step``, counted from 0."""
        return self.halt_at is None or step < self.halt_at


@runtime_checkable
class Trainable(Protocol):
    """Parameters attached to a family's modules, with their files.

    ``touches`` names the modules whose output the parameters change, so that it must not be cached. ``routing`` selects,
    for one forward and backward pass, the parameters of each example's concept.
    """

    @property
    def groups(self) -> Sequence[ParamGroup]: ...
    @property
    def touches(self) -> frozenset[str]: ...
    def routing(self, concept: Int[Tensor, " b"]) -> AbstractContextManager[None]: ...
    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None: ...
