"""TOML files that come with maquette, found by their names."""

import difflib
from importlib import resources
from importlib.resources.abc import Traversable

from maquette.errors import ConfigError


def packaged_names(folder: str) -> list[str]:
    """The names of the TOML files in one of the package's folders, in order."""
    return sorted(file.name.removesuffix(".toml") for file in _folder(folder).iterdir() if file.name.endswith(".toml"))


def packaged_text(folder: str, name: str, what: str) -> str:
    """The text of one of these files; ``what`` says what such a file is called.

    Raises ConfigError for an unknown name, with the nearest one.
    """
    names = packaged_names(folder)
    if name not in names:
        nearest = difflib.get_close_matches(name, names, 1, 0.4)
        hint = f' Did you mean "{nearest[0]}"?' if nearest else ""
        raise ConfigError(f'there is no {what} "{name}".{hint} There are: {", ".join(names)}.')
    return (_folder(folder) / f"{name}.toml").read_text(encoding="utf-8")


def summary(text: str) -> str:
    """What a packaged file is for: its first line, which is a comment."""
    return text.splitlines()[0].removeprefix("#").strip()


def _folder(name: str) -> Traversable:
    return resources.files("maquette") / name
