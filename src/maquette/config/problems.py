"""What is wrong with a configuration, in words: where it stands, what it is, what is allowed, what to do."""

import difflib
from collections.abc import Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from maquette.config.checks import Contradictions
from maquette.config.foreign import foreign
from maquette.config.keys import Table, keys, tables
from maquette.config.layers import KeyPath, Layer, Tree, child
from maquette.config.schema import RunConfig
from maquette.config.section import Section
from maquette.config.toml import toml_value

# What pydantic found, in the words of someone who writes TOML.
_SHOULD_BE = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text in quotes",
    "string_too_short": "a text that is not empty",
    "path_type": "a path, as a text in quotes",
    "tuple_type": "an array [...]",
    "mapping_type": "a table {...}",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "multiple_of": "a multiple of {multiple_of:g}",
    "too_long": "an array of {max_length}",
    "literal_error": "{expected}",
}


def explain(
    error: ValidationError, tree: Tree, layers: Sequence[Layer], schema: type[Section] = RunConfig
) -> list[str]:
    """A sentence or two for each problem that pydantic found in a merged tree, beginning with where it stands."""
    wrong: dict[KeyPath, list[ErrorDetails]] = {}
    sentences: list[tuple[KeyPath, str]] = []
    for details in error.errors(include_url=False):
        cause = details.get("ctx", {}).get("error")
        path = _path(details, tree)
        if isinstance(cause, Contradictions):
            sentences += [(_parts(problem.path), f"{problem.path} {problem.message}") for problem in cause.problems]
        elif details["type"] == "extra_forbidden":
            sentences.append((path, _unknown(path, tree, schema)))
        elif details["type"] == "union_tag_invalid":
            sentences.append(((*path, "kind"), _unknown_kind(path, details, schema)))
        elif details["type"] != "default_factory_not_called":  # which only follows from another one in the list
            wrong.setdefault(path, []).append(details)
    sentences += [(path, _wrong_value(path, all_of, tree)) for path, all_of in wrong.items()]
    placed = sorted((*_where(path, layers), sentence) for path, sentence in sentences)
    return [f"{where}: {sentence}" for _, _, where, sentence in placed]


def _path(details: ErrorDetails, tree: Tree) -> KeyPath:
    """Where in the tree an error is; pydantic also names the branches of unions, which nobody wrote."""
    path: list[str | int] = []
    value: object = tree
    for i, part in enumerate(details["loc"]):
        below = child(value, part)
        if below is not None:
            path, value = [*path, part], below
        elif details["type"] == "missing" and i == len(details["loc"]) - 1 and isinstance(part, str):
            path.append(part)
    return tuple(path)


def _where(path: KeyPath, layers: Sequence[Layer]) -> tuple[int, int, str]:
    """The highest layer that has the key or the table around it, the line there, and both as a person says it."""
    for depth in range(len(path), 0, -1):
        for i, layer in reversed(list(enumerate(layers))):
            if layer.holds(path[:depth]):
                return i, *layer.where(path)
    return 0, 0, "configuration"


def _wrong_value(path: KeyPath, found: Sequence[ErrorDetails], tree: Tree) -> str:
    if found[0]["type"] == "missing" and isinstance(found[0]["loc"][-1], str):
        return f"{_dotted(path)} is required."
    allowed = " or ".join(dict.fromkeys(_should_be(details) for details in found))
    return f"{_dotted(path)} = {_shown(_at(tree, path))} should be {allowed}."


def _should_be(details: ErrorDetails) -> str:
    if details["type"] == "missing":  # a number too few in an array of fixed length
        return "longer"
    limits = details.get("ctx", {})
    if details["type"] == "literal_error":
        limits = {"expected": str(limits["expected"]).replace("'", '"')}
    said = details["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return _SHOULD_BE.get(details["type"], said.replace("{", "{{").replace("}", "}}")).format_map(limits)


def _unknown_kind(path: KeyPath, details: ErrorDetails, schema: type[Section]) -> str:
    given, known = str(details["ctx"]["tag"]), list(tables(schema)[_table_path(path)].kinds())
    nearest = difflib.get_close_matches(given.lower().replace("-", "_"), known, 1, 0.5)
    hint = f' Did you mean "{nearest[0]}"?' if nearest else ""
    return f'{_dotted(path)}.kind = "{given}" is not known.{hint} Known: {", ".join(known)}.'


def _unknown(path: KeyPath, tree: Tree, schema: type[Section]) -> str:
    table = tables(schema)[_table_path(path[:-1])]
    holder = _at(tree, path[:-1])
    kind = holder.get("kind") if isinstance(holder, Mapping) else None
    known = list(table.class_of(kind).model_fields)
    is_all_sections = not table.path and schema is RunConfig
    what = (
        f'a key of {table.path}.kind = "{kind}"'
        if table.is_union
        else "a section"
        if is_all_sections
        else "a known key"
    )
    hint = _hint(str(path[-1]), table, known, schema)
    listed = "The sections are" if is_all_sections else f"Known in [{table.path}]" if table.path else "Known"
    return f"{_dotted(path)} is not {what}. {hint}{listed}: {', '.join(known)}."


def _hint(name: str, table: Table, known: Sequence[str], schema: type[Section]) -> str:
    """What was probably meant, most certain guess first; empty when there is none."""
    kinds = [kind for kind, section in table.kinds().items() if name in section.model_fields]
    if kinds:
        return f"It belongs to the kind{'s' if len(kinds) > 1 else ''} {', '.join(kinds)}. "
    if near := difflib.get_close_matches(name, known, 1, 0.75):
        return _did_you_mean([_join(table.path, near[0])])
    if schema is RunConfig and (known_elsewhere := foreign(name)):
        if known_elsewhere.status == "mapped":
            return _did_you_mean(_nearest_home(table, known_elsewhere.keys), known_elsewhere.note)
        cure = f"; see {known_elsewhere.keys[0]}" if known_elsewhere.keys else ""
        reason = {"needless": "It is not needed", "refused": "It is refused", "not yet": "It is not here yet"}
        return f"{reason[known_elsewhere.status]}: {known_elsewhere.note}{cure}. "
    homes = dict.fromkeys(key.path for key in keys(schema) if key.name == name)
    near = difflib.get_close_matches(name, known, 1, 0.5)
    far = difflib.get_close_matches(name, [key.name for key in keys(schema)], 1, 0.75)
    guesses = list(homes) or [_join(table.path, part) for part in near]
    return _did_you_mean(guesses or list(dict.fromkeys(key.path for key in keys(schema) if key.name in far)))


def _nearest_home(table: Table, paths: Sequence[str]) -> list[str]:
    """The key itself, or the one of the same name in the table where it was looked for."""
    here = [_join(table.path, path.rpartition(".")[2]) for path in paths]
    return [path for path in here if any(key.path == path for key in keys())] or list(paths)


def _did_you_mean(paths: Sequence[str], note: str = "") -> str:
    return f"Did you mean {' or '.join(paths)}{f' ({note})' if note else ''}? " if paths else ""


def _at(tree: object, path: KeyPath) -> object:
    for part in path:
        tree = child(tree, part)
    return tree


def _table_path(path: KeyPath) -> str:
    return ".".join(part for part in path if isinstance(part, str))


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))


def _parts(dotted: str) -> KeyPath:
    return tuple(int(part) if part.isdigit() else part for part in dotted.split("."))


def _join(table: str, name: str) -> str:
    return f"{table}.{name}" if table else name


def _shown(value: object) -> str:
    text = toml_value(tuple(value) if isinstance(value, list) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
