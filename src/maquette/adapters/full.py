"""Full fine-tuning: a module's own parameters."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor, nn

from maquette.adapters.base import ParamGroup
from maquette.adapters.state import restore


@dataclass(frozen=True, slots=True, eq=False)
class Full:
    """Every parameter of one module of a family; a Trainable."""

    module: str
    params: Mapping[str, nn.Parameter]
    group: ParamGroup

    @property
    def groups(self) -> Sequence[ParamGroup]:
        """One group: all parameters."""
        return (self.group,)

    @property
    def touches(self) -> frozenset[str]:
        """The module itself."""
        return frozenset({self.module})

    def routing(self, concept: Int[Tensor, " b"]) -> AbstractContextManager[None]:
        """Every example trains the same parameters."""
        del concept
        return nullcontext()

    def state_dict(self) -> dict[str, Tensor]:
        """Every parameter, by module and name."""
        return {f"{self.module}.{name}": param.detach() for name, param in self.params.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy parameters in. Raises CheckpointError, naming all of them, where names or shapes differ."""
        restore({f"{self.module}.{name}": param for name, param in self.params.items()}, state)


def unfreeze(module: nn.Module) -> dict[str, nn.Parameter]:
    """Make a module's parameters trainable, in fp32: at lower precision small steps are rounded away."""
    module.float().requires_grad_()
    return dict(module.named_parameters())
