"""TOML as people write it: reading a file, finding the line of a key, and writing a configuration with its comments."""

import re
import textwrap
import tomllib
from collections.abc import Iterator, Sequence, Set
from pathlib import Path, PurePath

import tomlkit

from maquette.config.keys import Table, tables
from maquette.config.pack import left_to_pack
from maquette.config.schema import RunConfig
from maquette.config.section import Section
from maquette.errors import ConfigError

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
_ASSIGNMENT = re.compile(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"|'[^']*'))*)\s*=")


def read_toml(file: Path) -> tuple[dict[str, object], str]:
    """The tables of a TOML file, and its text.

    Raises ConfigError when there is no such file, or when it is not TOML.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        return tomllib.loads(text), text
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file. `maquette init {file}` writes one to start from.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read as text: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f'{file}: is not TOML: {error}. Text needs quotes: prompt = "a photo of sks dog".') from error


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line (from 1) on which a TOML text sets a key, or else the nearest table that holds it; None if neither."""
    wanted = [str(part) for part in path]
    best, best_depth = None, 0
    for line, found in _places(text):
        depth = len(found)
        if found == wanted[:depth] and depth > best_depth:
            best, best_depth = line, depth
    return best


def _places(text: str) -> Iterator[tuple[int, list[str]]]:
    """Every line that opens a table or sets a key, with the full path of what it opens or sets."""
    table: list[str] = []
    counts: dict[str, int] = {}
    quote = ""
    for number, line in enumerate(text.splitlines(), 1):
        if quote:  # inside a text of several lines
            quote = "" if quote in line else quote
            continue
        if header := _HEADER.match(line):
            table = _split(header[2])
            if header[1] == "[[":
                name = ".".join(table)
                counts[name] = counts.get(name, -1) + 1
                table = [*table, str(counts[name])]
            yield number, table
        elif assignment := _ASSIGNMENT.match(line):
            yield number, table + _split(assignment[1])
        for mark in ('"""', "'''"):
            if line.count(mark) % 2:
                quote = mark


def _split(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", dotted)]


def dump(config: RunConfig, *, comments: bool = True) -> str:
    """A configuration as TOML that reads back as the same: every key, with its meaning above it as a comment.

    A key without a value stands as a comment ("# lr ="), as does one that a pack will make by the number of its
    concepts; a section that is left out as "# [validation]".
    comments: False writes the values alone.
    """
    blocks = ["\n".join(_block(config, table, comments)) for path, table in tables().items() if path]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _block(config: RunConfig, table: Table, comments: bool) -> Iterator[str]:
    value: object = config
    for part in table.path.split("."):
        value = getattr(value, part, None)
    sections = [part for part in (value if isinstance(value, tuple) else (value,)) if isinstance(part, Section)]
    heading = f"[[{table.path}]]" if table.is_array else f"[{table.path}]"
    if not sections and comments:
        yield from _comment(_first_line(table.classes[0].__doc__))
        yield f"# {heading}"
    for section in sections:
        if comments:
            yield from _comment(_first_line(section.__doc__))
        yield heading
        yield from _assignments(section, table, comments, left_to_pack(config))


def _assignments(section: Section, table: Table, comments: bool, left: Set[str]) -> Iterator[str]:
    names = [name for name in type(section).model_fields if f"{table.path}.{name}" not in tables()]
    for name in sorted(names, key=lambda name: name != "kind"):
        if comments:
            about = "One of " + ", ".join(table.kinds()) + "." if name == "kind" else _about(section, name)
            yield from _comment(about)
        value = getattr(section, name)
        if value is None or f"{table.path}.{name}" in left:
            yield from [f"# {name} ="] if comments else []
        elif comments and value == _follows(section, name):
            yield f"# {name} = {toml_value(value)}"  # else it would stay behind when what it follows is edited
        else:
            yield f"{name} = {toml_value(value)}"


def _follows(section: Section, name: str) -> object:
    """The default that a key takes from the keys before it (lora_alpha from rank); None where it takes none."""
    field = type(section).model_fields[name]
    return field.get_default(call_default_factory=True, validated_data=dict(section)) if field.default_factory else None


def toml_value(value: object) -> str:
    """A value as TOML spells it."""
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(part) for part in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_value(str(key))} = {toml_value(part)}" for key, part in value.items()) + "}"
    return tomlkit.item(value).as_string()


def _about(section: Section, name: str) -> str:
    return " ".join((type(section).model_fields[name].description or "").split())


def _first_line(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def _comment(text: str) -> Iterator[str]:
    yield from (f"# {line}" for line in textwrap.wrap(text, 110, break_on_hyphens=False))
