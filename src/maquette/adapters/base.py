"""What is trained: parameters, how they are saved, and what they make uncacheable."""

from collections.abc import Callable, Mapping, Sequence
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
    hold: called after every optimiser step in which the parameters moved, to hold them to what must be true of them.
    """

    name: str
    params: Sequence[nn.Parameter]
    lr: float
    weight_decay: float = 0.0
    halt_at: int | None = None
    clip: str = "run"
    hold: Callable[[], None] | None = None

    def is_active(self, step: int) -> bool:
        """Whether the parameters move in optimiser step ``step``, counted from 0."""
        return self.halt_at is None or step < self.halt_at


@runtime_checkable
class Trainable(Protocol):
    """Parameters attached to a family's modules; a list of such is one again (``combined.Combined``)."""

    @property
    def groups(self) -> Sequence[ParamGroup]:
        """The parameters, by learning rate."""
        ...

    @property
    def touches(self) -> frozenset[str]:
        """Names of the modules whose output the parameters change, so that it must not be cached."""
        ...

    def routing(self, concept: Int[Tensor, " b"]) -> AbstractContextManager[None]:
        """The context of one forward and backward pass, in which each example trains its own concept's parameters."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Everything a checkpoint must hold, by names that begin with their module's."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state_dict`` gave. Raises CheckpointError, naming all of them, for keys that differ."""
        ...
