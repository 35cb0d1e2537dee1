"""The documentation of every setting, made from the schema: docs/configuration.md, docs/suites.md, docs/flags.md."""

import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic.fields import FieldInfo

from maquette.config.answer import Foreign
from maquette.config.foreign import OTHERS, REFERENCE
from maquette.config.keys import Table, tables
from maquette.config.kohya import KOHYA
from maquette.config.schema import RunConfig
from maquette.config.section import Section
from maquette.config.suite import SuiteConfig
from maquette.config.suites import load_suite, suite_names
from maquette.config.toml import toml_value

_MADE = "<!-- Made from the schema by `make docs`; edit the schema instead. -->"

_SOURCES = """\
Settings are the keys of a TOML file (`maquette init` writes one), and of `--set section.key=value`. A later layer wins:
the defaults below, `--preset NAME`, the TOML file, the flags of `maquette train`, `--set`. A layer that names another
`kind` starts that section afresh. Relative paths in a file start at the file's folder.

"Source" says where a default comes from. S0 is a style-pack LoRA report, S1 the advanced DreamBooth LoRA training of
SDXL (diffusers), S2 a course's face LoRA, S3 DreamBooth in PaddleMIX, S4 Kandinsky 2.2 in PaddleMIX; other names are
projects (diffusers, peft, kohya's sd-scripts) and papers."""

_MIGRATE = """\
`maquette migrate "accelerate launch train_dreambooth_lora_sdxl.py --rank=8 ..."` goes by these tables and writes a
TOML file for `maquette train`: from a command line, from a shell script that holds one (with its `export` lines), or
from kohya's TOML files of settings and of data. Each line says which flag it comes from, or that it is the script's
own default. What cannot be taken over is named with the reason, on the screen and at the end of the file."""

_WORDS: Mapping[object, str] = {bool: "true or false", str: "text", int: "whole number", float: "number", Path: "path"}


def configuration_markdown() -> str:
    """docs/configuration.md: every section, kind and key, with type, default and meaning."""
    parts = [_MADE, "# Configuration", _SOURCES]
    for path, table in tables().items():
        if path:
            parts += _table_parts(table)
    return "\n\n".join(parts) + "\n"


def flags_markdown() -> str:
    """docs/flags.md: what each flag of the reference trainers is here, and other trainers' names for our keys."""
    parts = [
        _MADE,
        "# Flags of other trainers",
        "What each flag of the reference trainers (diffusers' scripts and their ports, kohya's sd-scripts) is here: a "
        "key of the [configuration](configuration.md), needless because, refused because, or not yet.",
        _MIGRATE,
    ]
    for group, flags in {**REFERENCE, **KOHYA}.items():
        parts += [f"## {group}", _rows("flag", flags)]
    parts += ["## Names from other trainers", "These bring a hint when they are used as a key.", _rows("name", OTHERS)]
    return "\n\n".join(parts) + "\n"


def suites_markdown() -> str:
    """docs/suites.md: the packaged suites, and every section and key of a suite's file."""
    rows = [f"| `{name}` | {_cell(load_suite(name).about)} |" for name in suite_names()]
    parts = [
        _MADE,
        "# Suites",
        "A suite is a TOML file of prompts, seeds and metrics: `maquette evaluate RUN --suite NAME` takes one that "
        "comes with maquette, or the file of one's own. [evaluation.md](evaluation.md) tells what becomes of them.",
        "\n".join(["| suite | what it is |", "|---|---|", *rows]),
    ]
    for table in tables(SuiteConfig).values():
        parts += _table_parts(table, SuiteConfig)
    return "\n\n".join(parts) + "\n"


def write_reference(folder: Path) -> None:
    """Write the pages into a folder of documentation."""
    (folder / "configuration.md").write_text(configuration_markdown(), encoding="utf-8")
    (folder / "suites.md").write_text(suites_markdown(), encoding="utf-8")
    (folder / "flags.md").write_text(flags_markdown(), encoding="utf-8")


def _table_parts(table: Table, schema: type[Section] = RunConfig) -> Iterator[str]:
    heading = f"`[[{table.path}]]`" if table.is_array else f"`[{table.path}]`"
    yield f"## {heading if table.path else 'At the top of the file'}"
    if table.is_optional:
        yield "Optional: without this section, what it describes is off."
    if table.is_union:
        yield f"`kind` decides which keys there are: {', '.join(f'`{kind}`' for kind in table.kinds())}."
    for section in table.classes:
        if table.is_union:
            yield f"### `{table.path}.kind = {toml_value(section.model_fields['kind'].default)}`"
        yield _prose(section.__doc__)
        rows = [
            f"| `{name}` | {_type(field)} | {_default(field)} | {_cell(field.description)} |"
            for name, field in section.model_fields.items()
            if name != "kind" and f"{table.path}.{name}".lstrip(".") not in tables(schema)
        ]
        if rows:
            yield "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows])


def _rows(name: str, entries: Mapping[str, Foreign]) -> str:
    lines = [f"| {name} | here | |", "|---|---|---|"]
    for foreign_name, entry in entries.items():
        here = ", ".join(f"`{key}`" for key in entry.keys) if entry.status == "mapped" else entry.status
        lines.append(f"| `{foreign_name}` | {here} | {_cell(entry.note)} |")
    return "\n".join(lines)


def _type(field: FieldInfo) -> str:
    return _cell(_type_of(field.annotation, field.metadata))


def _type_of(annotation: object, limits: Sequence[object] = ()) -> str:
    """A type in the words of someone who writes TOML."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = [*limits, *(part for extra in arguments[1:] for part in getattr(extra, "metadata", [extra]))]
        return _type_of(arguments[0], limits)
    if origin is Literal:
        return ", ".join(f"`{toml_value(choice)}`" for choice in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_type_of(part, limits) for part in arguments if part is not type(None))
    if origin is tuple:
        parts = [_type_of(part) for part in arguments if part is not Ellipsis]
        return f"array of {parts[0]}" if Ellipsis in arguments else f"array of {len(parts)}: {parts[0]}"
    if origin is not None:
        return f"table of {_type_of(arguments[1])}"
    word = _WORDS[annotation]
    bounds = " and ".join(_bound(limit) for limit in limits if _bound(limit))
    return f"{word} {bounds}".strip()


def _bound(limit: object) -> str:
    match limit:
        case Ge(ge=low):
            return f"≥ {low:g}"
        case Gt(gt=low):
            return f"> {low:g}"
        case Le(le=high):
            return f"≤ {high:g}"
        case Lt(lt=high):
            return f"< {high:g}"
        case MultipleOf(multiple_of=step):
            return f"in steps of {step:g}"
        case _:
            return ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "see meaning"
    return "unset" if field.default is None else f"`{toml_value(field.default)}`"


def _prose(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str | None) -> str:
    return _prose(text).replace("|", "\\|")
