"""Captions that stand in one file for many pictures: metadata.jsonl and metadata.csv, as Hugging Face's imagefolder."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from maquette.data.sample import Finding

CAPTION_COLUMNS = ("text", "caption", "prompt")
"""The columns looked for, in this order, when none is named."""


def read_metadata(path: Path, column: str | None) -> tuple[dict[Path, str], list[Finding]]:
    """Picture (resolved path) -> caption from one metadata file, and what is wrong with the file, with line numbers.

    column: where the captions are; None takes the first of text, caption and prompt that the file has. Paths are
    relative to the file. A row without its caption is listed as a problem.
    """
    captions: dict[Path, str] = {}
    problems: list[str] = []
    try:
        rows = list(_rows(path))
    except (OSError, ValueError, csv.Error) as error:
        message = f"{path}: cannot be read ({error}). It must be UTF-8, with one picture a line."
        return {}, [Finding("error", "metadata", message)]
    keys = dict.fromkeys(key for _, row in rows if isinstance(row, Mapping) for key in row)
    chosen = column or next((name for name in CAPTION_COLUMNS if name in keys), None)
    if chosen is None or chosen not in keys:
        wanted = f'"{column}"' if column else "text, caption or prompt"
        message = f"{path}: has no column {wanted}; it has {', '.join(map(str, keys)) or 'none'}. "
        return {}, [Finding("error", "metadata", message + "Name the one with captions as data.caption_column.")]
    for number, row in rows:
        entry = _entry(path, row, chosen, captions)
        if isinstance(entry, str):
            problems.append(f"line {number} {entry}")
        else:
            captions[entry[0]] = entry[1]
    message = f"{path}: lines that cannot be used. Correct them:"
    return captions, [Finding("error", "metadata", message, tuple(problems))] if problems else []


def _entry(path: Path, row: object, column: str, known: Mapping[Path, str]) -> tuple[Path, str] | str:
    """The picture and caption of a row, or what is wrong with it."""
    if not isinstance(row, Mapping):
        return row if isinstance(row, str) else "is no object in braces"
    name, caption = row.get("file_name"), row.get(column)
    if not isinstance(name, str) or not name:
        return "has no file_name"
    if not isinstance(caption, str):
        return f"({name}) has no text under {column}"
    picture = (path.parent / name).resolve()
    if picture in known:
        return f"({name}) names a picture for the second time"
    if not picture.is_file():
        return f"({name}) names a picture that does not exist"
    return picture, " ".join(caption.split())


def _rows(path: Path) -> Iterator[tuple[int, object]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".csv":
            reader = csv.DictReader(file)
            yield from ((reader.line_num, row) for row in reader)
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _object(line)


def _object(line: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        return f"is no JSON ({error})"
