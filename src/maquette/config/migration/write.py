"""Migrated settings as a TOML file that says of every line where it comes from, and what was left behind."""

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

from maquette.config.keys import keys, tables
from maquette.config.migration.migrate import Migrated
from maquette.config.migration.plan import Remark, Setting
from maquette.config.toml import toml_value

_HEADING = {
    "open": "For you to decide",
    "unknown": "Not known",
    "not yet": "Not here yet",
    "refused": "Refused",
    "needless": "Not needed",
}


def write(migrated: Migrated, source: str, folder: Path) -> str:
    """The TOML text.

    source: what was migrated, in a word. folder: where the file will lie, which its paths start at.
    """
    top = f"# What {source} asks for, for `maquette train`. Each line says which flag it comes from."
    blocks = [top, *("\n".join(block) for block in _sections(migrated, folder))]
    if migrated.remarks:
        blocks.append("\n".join(["# Not taken over, or not just as it was:", *_comments(remark_lines(migrated))]))
    return "\n\n".join(blocks) + "\n"


def remark_lines(migrated: Migrated) -> list[str]:
    """One line for each remark, those that a person has to act on first."""
    order = list(_HEADING)
    remarks = sorted(migrated.remarks, key=lambda remark: order.index(remark.status))
    return [_remark(remark) for remark in remarks]


def _remark(remark: Remark) -> str:
    return f"{_HEADING[remark.status]}: {_one_line(remark.said)}: {remark.why}"


def _comments(lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield from textwrap.wrap(
            line, 116, initial_indent="# - ", subsequent_indent="#   ", break_on_hyphens=False, break_long_words=False
        )


def _sections(migrated: Migrated, folder: Path) -> Iterator[list[str]]:
    for path, table in tables().items():
        below = {key: setting for key, setting in migrated.settings.items() if key.rpartition(".")[0] == path}
        own = [setting for key, setting in below.items() if key not in tables()]
        if table.is_array and path in migrated.settings:
            yield from _array(path, migrated.settings[path], folder)
        elif path and (own or path in migrated.settings):
            order = [name for section in table.classes for name in section.model_fields]
            own.sort(key=lambda setting: order.index(setting.key.rpartition(".")[2]))
            opened = migrated.settings.get(path)
            yield [f"[{path}]" + (_from(opened) if opened else ""), *(_line(setting, folder) for setting in own)]


def _array(path: str, setting: Setting, folder: Path) -> Iterator[list[str]]:
    assert isinstance(setting.value, list)
    for part in setting.value:
        values = [f"{name} = {toml_value(_placed(f'{path}.{name}', value, folder))}" for name, value in part.items()]
        yield [f"[[{path}]]{_from(setting)}", *values]


def _line(setting: Setting, folder: Path) -> str:
    value = _placed(setting.key, setting.value, folder)
    name = setting.key.rpartition(".")[2]
    return f"{name} = {toml_value(tuple(value) if isinstance(value, list) else value)}{_from(setting)}"


def _from(setting: Setting) -> str:
    said = _one_line(setting.said)
    return f"  # {said if len(said) <= 60 else said[:57] + '...'}"


def _placed(key: str, value: object, folder: Path) -> object:
    """A path as it is written in a file of this folder; a name stays one where there is no such file."""
    found = next((each for each in keys() if each.path == key), None)
    if found is None or not found.is_path:
        return value
    path = Path(str(value)).expanduser()
    if path.is_absolute() or (found.may_be_name and not path.exists()):
        return str(value)
    return os.path.relpath(path, folder)


def _one_line(text: str) -> str:
    return " ".join(text.split())
