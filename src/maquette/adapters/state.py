"""Copying saved tensors back into parameters, all or nothing."""

from collections.abc import Mapping

import torch
from torch import Tensor

from maquette.errors import CheckpointError


def restore(params: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Copy ``state`` into ``params``. Raises CheckpointError before anything is copied where names or shapes differ."""
    problems = [f"{name} is missing" for name in params.keys() - state.keys()]
    problems += [f"{name} is not part of what is trained" for name in state.keys() - params.keys()]
    problems += [
        f"{name} has shape {list(state[name].shape)}, not {list(params[name].shape)}"
        for name in params.keys() & state.keys()
        if state[name].shape != params[name].shape
    ]
    if problems:
        raise CheckpointError(
            f"The saved state does not fit what is trained: {'; '.join(sorted(problems))}. "
            "Resume with the configuration it was saved under, or start a new run."
        )
    with torch.no_grad():
        for name, param in params.items():
            param.copy_(state[name])
