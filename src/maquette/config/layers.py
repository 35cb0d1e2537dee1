"""The layers of a configuration (defaults, preset, file, flags, --set), and how one lies over the other."""

import logging
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from maquette.config.keys import Table, keys, tables
from maquette.config.presets import preset_text
from maquette.config.schema import RunConfig
from maquette.config.section import Section
from maquette.config.toml import line_of, read_toml
from maquette.errors import ConfigError

Tree = dict[str, object]
KeyPath = tuple[str | int, ...]

# Which key each flag of `maquette train` and `maquette check` sets.
FLAGS: Mapping[str, str] = {
    "SOURCE": "data.folder",
    "--prompt": "data.prompt",
    "--trigger": "data.trigger",
    "--resolution": "data.resolution",
    "--base": "model.base",
    "--out": "output.dir",
    "--device": "training.device",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one place: their tree, and what is needed to say where each of them stands.

    name: the file, or what else to call the place. text: the TOML text, for line numbers.
    flags: for settings from the command line, the flag of each dotted key.
    """

    name: str
    tree: Tree
    text: str = ""
    flags: Mapping[str, str] = field(default_factory=dict)

    def where(self, path: KeyPath) -> tuple[int, str]:
        """The line of a setting (0 without one), and its place as a person would look for it."""
        if self.flags:
            dotted = ".".join(map(str, path))
            return 0, next((flag for key, flag in self.flags.items() if _overlap(dotted, key)), self.name)
        line = line_of(self.text, path)
        return (0, self.name) if line is None else (line, f"{self.name}:{line}")

    def holds(self, path: KeyPath) -> bool:
        """Whether this layer has something at a path."""
        value: object = self.tree
        for part in path:
            value = child(value, part)
            if value is None:
                return False
        return True


def child(value: object, part: str | int) -> object:
    """What a table or an array holds under a key or an index; None where there is nothing (TOML has no null)."""
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def default_layer() -> Layer:
    """The kind of every tagged section, so that a file may set keys of the default kind without naming it."""
    tree: Tree = {}
    for path, table in tables().items():
        if table.is_union:
            put(tree, path.split("."), {"kind": _default_kind(path)})
    return Layer("defaults", tree)


def preset_layer(name: str) -> Layer:
    """The settings of a packaged recipe."""
    text = preset_text(name)
    return Layer(f"preset {name}", tomllib.loads(text), text)


def file_layer(file: Path, schema: type[Section] = RunConfig) -> Layer:
    """The settings of a TOML file, with its relative paths made to start at the file's own folder."""
    tree, text = read_toml(file)
    _anchor(tree, file.parent, schema)
    return Layer(str(file), tree, text)


def flag_layer(flags: Mapping[str, object]) -> Layer:
    """The settings given by flags of their own; None stands for a flag that was not given."""
    tree: Tree = {}
    given = {flag: value for flag, value in flags.items() if value is not None}
    for flag, value in given.items():
        put(tree, FLAGS[flag].split("."), str(value) if isinstance(value, Path) else value)
    _anchor(tree, Path())
    return Layer("flags", tree, flags={FLAGS[flag]: flag for flag in given})


def set_layer(assignments: Sequence[str], schema: type[Section] = RunConfig) -> Layer:
    """The settings given as `--set section.key=value`; a value is TOML, or else plain text.

    Raises ConfigError for one without "=", or for a key that is set twice.
    """
    tree: Tree = {}
    flags: dict[str, str] = {}
    problems = []
    for assignment in assignments:
        key, equals, value = (part.strip() for part in assignment.partition("="))
        if not equals or not key:
            problems.append(f"--set {assignment}: is not of the form section.key=value, like adapter.rank=32.")
        elif key in flags:
            problems.append(f"--set {key}: is given twice; give it once.")
        else:
            flags[key] = f"--set {key}"
            try:
                put(tree, key.split("."), _typed(value))
            except TypeError:
                problems.append(f"--set {key}: cannot be set beside {key.rpartition('.')[0]}, which is not a table.")
    if problems:
        raise ConfigError("\n".join(problems))
    _anchor(tree, Path(), schema)
    return Layer("--set", tree, flags=flags)


def merged(layers: Sequence[Layer], schema: type[Section] = RunConfig) -> Tree:
    """One tree of all layers, later ones over earlier ones.

    A layer that gives a tagged section another kind starts that section afresh, since the settings of the other kind
    were meant for it; a warning names the settings that this drops.
    """
    tree: Tree = {}
    for layer in layers:
        _lay(tree, layer.tree, "", layer, tables(schema))
    return tree


def put(tree: Tree, parts: Sequence[str], value: object) -> None:
    """Set one key of a tree, making the tables on the way. Raises TypeError where a plain value is in the way."""
    for part in parts[:-1]:
        below = tree.setdefault(part, {})
        if not isinstance(below, dict):
            raise TypeError(part)
        tree = below
    present = tree.get(parts[-1])
    tree[parts[-1]] = {**present, **value} if isinstance(present, dict) and isinstance(value, dict) else value


def _lay(below: Tree, above: Tree, path: str, layer: Layer, known: Mapping[str, Table]) -> None:
    for name, value in above.items():
        here = f"{path}{name}"
        present = below.get(name)
        if not (isinstance(value, dict) and isinstance(present, dict)) or here not in known:
            below[name] = _copy(value)
            continue
        if known[here].is_union and "kind" in value and value["kind"] != present.get("kind"):
            dropped = [
                f"{here}.{key}" for key in present if key not in value and _is_set(f"{here}.{key}", present[key])
            ]
            if dropped:
                kinds = f'"{present.get("kind")}" with "{value["kind"]}"'
                _log.warning("%s: %s replaces %s; no longer set: %s", layer.name, here, kinds, ", ".join(dropped))
            present = below[name] = {}
        _lay(present, value, f"{here}.", layer, known)


def _is_set(path: str, value: object) -> bool:
    """Whether a key says more than the kind that `default_layer` gives every tagged section."""
    return not path.endswith(".kind") and not (path in tables() and value == {"kind": _default_kind(path)})


def _overlap(path: str, other: str) -> bool:
    return f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")


def _copy(value: object) -> object:
    return {key: _copy(part) for key, part in value.items()} if isinstance(value, dict) else value


def _typed(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


@cache
def _default_kind(path: str) -> str:
    value: object = RunConfig()
    for part in [*path.split("."), "kind"]:
        value = getattr(value, part)
    return str(value)


def _anchor(tree: Tree, folder: Path, schema: type[Section] = RunConfig) -> None:
    """Make every path in a tree absolute, so that the settings mean the same wherever they are read again.

    A name that may be that of a model stays as it is where there is no such file.
    """
    for key in keys(schema):
        if key.is_path:
            for holder in _holders(tree, key.path.split(".")[:-1]):
                value = holder.get(key.name)
                if isinstance(value, str) and value:
                    path = folder / Path(value).expanduser()
                    if path.exists() or not key.may_be_name:
                        holder[key.name] = str(path.absolute())


def _holders(tree: object, parts: Sequence[str]) -> list[Tree]:
    if isinstance(tree, list):
        return [holder for part in tree for holder in _holders(part, parts)]
    if not isinstance(tree, dict):
        return []
    return _holders(tree.get(parts[0]), parts[1:]) if parts else [tree]
