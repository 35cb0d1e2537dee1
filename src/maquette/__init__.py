"""Maquette: teach a text-to-image diffusion model a subject, a style or a face, from a few pictures."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maquette.config.load import load_config
    from maquette.config.schema import RunConfig
    from maquette.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        Interrupted,
        MaquetteError,
        MissingDependencyError,
        ModelError,
    )

__version__ = "0.1.0"

# Where each public name lives. Looked up on first use (PEP 562), so that `import maquette` stays free of torch.
_HOMES = {
    "CheckpointError": "maquette.errors",
    "ConfigError": "maquette.errors",
    "DataError": "maquette.errors",
    "Interrupted": "maquette.errors",
    "MaquetteError": "maquette.errors",
    "MissingDependencyError": "maquette.errors",
    "ModelError": "maquette.errors",
    "RunConfig": "maquette.config.schema",
    "load_config": "maquette.config.load",
}

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Interrupted",
    "MaquetteError",
    "MissingDependencyError",
    "ModelError",
    "RunConfig",
    "__version__",
    "load_config",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
