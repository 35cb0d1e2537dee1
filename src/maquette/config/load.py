"""From presets, files and flags to a checked configuration, or to one error that names every problem and its cure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from maquette.config.layers import Layer, Tree, default_layer, file_layer, flag_layer, merged, preset_layer, set_layer
from maquette.config.networks import NetworksConfig
from maquette.config.problems import explain
from maquette.config.schema import RunConfig
from maquette.config.section import Section
from maquette.errors import ConfigError


def load_config(
    file: Path | None = None,
    *,
    preset: str | None = None,
    flags: Mapping[str, object] | None = None,
    sets: Sequence[str] = (),
) -> RunConfig:
    """A run's configuration: the schema's defaults, under a preset, under a TOML file, under flags, under `--set`.

    flags: values by the flags in `layers.FLAGS`; None for one that was not given.
    sets: "section.key=value" each.
    Relative paths in the file start at its folder, all others at the working directory.
    Raises ConfigError with every problem: its file and line or its flag, the dotted key, and what to do.
    """
    layers = [default_layer()]
    if preset is not None:
        layers.append(preset_layer(preset))
    if file is not None:
        layers.append(file_layer(file))
    layers += [flag_layer(flags or {}), set_layer(sets)]
    tree = merged(layers)
    return checked(RunConfig, tree, layers)


def load_networks(file: Path) -> NetworksConfig:
    """The networks that a TOML file of its own names, one key for each role.

    Relative paths start at its folder. Raises ConfigError with every problem.
    """
    layers = [file_layer(file, NetworksConfig)]
    return checked(NetworksConfig, merged(layers, NetworksConfig), layers)


S = TypeVar("S", bound=Section)


def checked(schema: type[S], tree: Tree, layers: Sequence[Layer]) -> S:
    """The value of a schema that merged layers come to. Raises ConfigError, listing every problem."""
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_listed(explain(error, tree, layers, schema))) from None


def require_pictures(config: RunConfig) -> None:
    """Refuse a configuration that names nothing to learn from: presets and `maquette config` may, a run may not.

    Raises ConfigError.
    """
    if config.data.folder is None and config.data.dataset is None and not config.concepts:
        raise ConfigError(
            "There are no pictures to learn from: name their folder (`maquette train photos/`), or set data.folder, "
            "data.dataset or [[concepts]] in a TOML file."
        )


def _listed(problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems)
