"""Several trainables as one."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from maquette.adapters.base import ParamGroup, Trainable
from maquette.adapters.full import Full
from maquette.adapters.injected import Injected
from maquette.adapters.tokens import LearnedTokens
from maquette.errors import CheckpointError


@dataclass(frozen=True, slots=True, eq=False)
class Combined:
    """A list of trainables is a Trainable: groups one after the other, one state."""

    parts: Sequence["Attached"]

    @property
    def groups(self) -> Sequence[ParamGroup]:
        """The groups of all parts, in order."""
        return [group for part in self.parts for group in part.groups]

    @property
    def touches(self) -> frozenset[str]:
        """Every module that any part changes."""
        return frozenset[str]().union(*(part.touches for part in self.parts))

    @contextmanager
    def routing(self, concept: Int[Tensor, " b"]) -> Generator[None]:
        """Inside the routing of every part."""
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part.routing(concept))
            yield

    def state_dict(self) -> dict[str, Tensor]:
        """The states of all parts, whose names never meet: each begins with its module's."""
        return {name: tensor for part in self.parts for name, tensor in part.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Give every part what is its own. Raises CheckpointError for what belongs to none, and as the parts do."""
        names = [set(part.state_dict()) for part in self.parts]
        strange = state.keys() - set[str]().union(*names)
        if strange:
            raise CheckpointError(
                f"The saved state holds what is not trained here: {', '.join(sorted(strange))}. "
                "Resume with the configuration it was saved under, or start a new run."
            )
        for part, own in zip(self.parts, names, strict=True):
            part.load_state_dict({name: tensor for name, tensor in state.items() if name in own})


Attached = Injected | Full | LearnedTokens | Combined
"""All that is ever attached to a family, but for banks of it: what is exported has to be said of each."""


def injected(trainable: Trainable) -> list[Injected]:
    """Those parts of a trainable that are adapters beside frozen layers."""
    if isinstance(trainable, Combined):
        return [part for each in trainable.parts for part in injected(each)]
    return [trainable] if isinstance(trainable, Injected) else []
