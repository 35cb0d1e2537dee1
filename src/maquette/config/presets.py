"""The recipes that come with maquette: TOML files in the package, one for each goal, family and method."""

import difflib
from importlib import resources
from importlib.resources.abc import Traversable

from maquette.errors import ConfigError


def preset_names() -> list[str]:
    """The names of all recipes, in order."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def preset_text(name: str) -> str:
    """The TOML text of one recipe.

    Raises ConfigError for an unknown name, with the nearest one.
    """
    names = preset_names()
    if name not in names:
        nearest = difflib.get_close_matches(name, names, 1, 0.4)
        hint = f' Did you mean "{nearest[0]}"?' if nearest else ""
        raise ConfigError(f'there is no preset "{name}".{hint} There are: {", ".join(names)}.')
    return (_folder() / f"{name}.toml").read_text(encoding="utf-8")


def preset_summary(name: str) -> str:
    """What one recipe is for: the first line of its file, which is a comment."""
    return preset_text(name).splitlines()[0].removeprefix("#").strip()


def _folder() -> Traversable:
    return resources.files("maquette") / "presets"
