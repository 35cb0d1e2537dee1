"""A schema as a list of dotted keys: what error messages, dumps, comparisons and the documentation walk over."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, get_args, get_origin

from pydantic.fields import FieldInfo

from maquette.config.schema import RunConfig
from maquette.config.section import NameOrPath, RelativeToFile, Section


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """One setting: its dotted path, the section class that holds it, its field there, and the kind it belongs to."""

    path: str
    section: type[Section]
    field: FieldInfo
    kind: str | None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def is_path(self) -> bool:
        """Whether the value names a file or folder, so that in a file it is relative to that file."""
        return self._is_marked(RelativeToFile)

    @property
    def may_be_name(self) -> bool:
        """Whether a value that names no file or folder is the name of something else, such as a model on the hub."""
        return self._is_marked(NameOrPath)

    def _is_marked(self, marker: type[RelativeToFile]) -> bool:
        own = any(isinstance(extra, marker) for extra in self.field.metadata)
        return own or _has_marker(self.field.annotation, marker)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One section of the schema: its dotted path, and its possible classes (several for a tagged union)."""

    path: str
    field: FieldInfo
    classes: tuple[type[Section], ...]

    @property
    def is_union(self) -> bool:
        """Whether the key `kind` decides which other keys there are."""
        return "kind" in self.classes[0].model_fields

    @property
    def is_array(self) -> bool:
        """Whether there may be several of it, as [[...]]."""
        return get_origin(self.field.annotation) is tuple

    @property
    def is_optional(self) -> bool:
        """Whether leaving it out turns off what it sets."""
        return type(None) in get_args(self.field.annotation)

    def kinds(self) -> dict[str, type[Section]]:
        """The section class of each kind; empty when there is one class and no kind."""
        return {kind_of(section): section for section in self.classes} if self.is_union else {}

    def class_of(self, kind: object) -> type[Section]:
        """The section class for a value of `kind`; the first for an unknown one."""
        return self.kinds().get(str(kind), self.classes[0])


def kind_of(section: type[Section]) -> str:
    """The value of `kind` that selects a section class."""
    return str(section.model_fields["kind"].default)


@cache
def tables(schema: type[Section] = RunConfig) -> dict[str, Table]:
    """Every section of a schema by its dotted path, in the order of the schema; the whole of it is ""."""
    root = Table("", FieldInfo(annotation=schema), (schema,))
    return {table.path: table for table in (root, *_tables(schema, ""))}


@cache
def keys(schema: type[Section] = RunConfig) -> tuple[Key, ...]:
    """Every setting of every section and kind, in the order of a schema."""
    return tuple(
        Key(f"{table.path}.{name}".removeprefix("."), section, field, kind_of(section) if table.is_union else None)
        for table in tables(schema).values()
        for section in table.classes
        for name, field in section.model_fields.items()
        if not sections_in(field.annotation)
    )


def sections_in(annotation: object) -> tuple[type[Section], ...]:
    """The section classes that a field may hold: none for a plain value."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, Section):
        return (annotation,)
    return tuple(section for part in _parts(annotation) for section in sections_in(part))


def _tables(section: type[Section], prefix: str) -> Iterator[Table]:
    for name, field in section.model_fields.items():
        classes = sections_in(field.annotation)
        if classes:
            yield Table(prefix + name, field, classes)
            for member in classes:
                yield from _tables(member, f"{prefix}{name}.")


def _has_marker(annotation: object, marker: type[RelativeToFile]) -> bool:
    if get_origin(annotation) is Annotated:
        return any(isinstance(extra, marker) for extra in get_args(annotation)[1:])
    return any(_has_marker(part, marker) for part in _parts(annotation))


def _parts(annotation: object) -> tuple[object, ...]:
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[:1]
    return tuple(part for part in get_args(annotation) if part is not Ellipsis)
