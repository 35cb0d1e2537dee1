"""Captions that are built of tags: what each picture of a concept shows, and the file that says so."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from maquette.data.caption import Tagged
from maquette.data.sample import Finding, Source
from maquette.errors import DataError

TAG_FILE = "tag.json"
"""{"style": "purple, lineart", "item": {"apple": "apple, fruit"}}: what all pictures of a folder share, and what each
shows, by its name without its ending. Source: S0."""


@dataclass(frozen=True, slots=True)
class TagFile:
    """What a tag file says. phrase: None where it says nothing of all pictures."""

    phrase: str | None
    tags: Mapping[str, str]


def read_tag_file(path: Path) -> TagFile:
    """Read a tag file. Raises DataError for one that is not of this form, saying what is."""
    form = 'It should hold {"style": "purple, lineart", "item": {"apple": "apple, fruit"}}.'
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}). {form}") from error
    if not isinstance(found, dict) or found.keys() - {"style", "item"}:
        raise DataError(f"{path}: is not a table of style and item alone. {form}")
    style, items = found.get("style"), found.get("item") or {}
    if not (style is None or isinstance(style, str)) or not isinstance(items, dict):
        raise DataError(f"{path}: style is no text, or item no table. {form}")
    tags = {name: _joined(value) for name, value in items.items()}
    if odd := [name for name, value in tags.items() if value is None]:
        raise DataError(f"{path}: the tags of {', '.join(odd)} are neither a text nor a list of texts. {form}")
    return TagFile(style or None, {name: value for name, value in tags.items() if value is not None})


def _joined(value: object) -> str | None:
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return value if isinstance(value, str) else None


def settle_tags(
    source: Source, names: Sequence[str], beside: Sequence[str | None]
) -> tuple[list[Tagged], list[Finding]]:
    """The caption of each picture, built of tags, and what to say about them.

    names: of the pictures, as messages say them. beside: the caption that came with each, whose parts are its tags
    where the source has none for it.
    """
    lead = ",".join(part for part in (source.trigger, source.phrase) if part)
    stems = [stem_of(name) for name in names]
    own = [source.tags.get(stem, caption or "") for stem, caption in zip(stems, beside, strict=True)]
    # S0 puts the name behind the tags also where there are none, which leaves an empty tag to be tidied away.
    tags = [f"{text}, {stem}" if source.name_tag else text for text, stem in zip(own, stems, strict=True)]
    captions = [Tagged(lead, text) if lead else Tagged(*_first(text)) for text in tags]
    findings = []
    bare = tuple(name for name, text in zip(names, tags, strict=True) if not text.strip(" ,"))
    if bare:
        message = f"{source.folder}: pictures have no tags; give some, so that what they show is not learned with it:"
        findings.append(Finding("warning", "tags-missing", message, bare))
    unused = tuple(name for name in source.tags if name not in stems)
    if unused:
        message = f"{source.folder}: tags belong to no picture and are not read:"
        findings.append(Finding("warning", "tags-unused", message, unused))
    rows = zip(names, stems, beside, strict=True)
    overruled = tuple(name for name, stem, caption in rows if caption is not None and stem in source.tags)
    if overruled:
        message = f"{source.folder}: captions beside the pictures are ignored, since tags are given for them:"
        findings.append(Finding("warning", "captions-ignored", message, overruled))
    return captions, findings


def _first(tags: str) -> tuple[str, str]:
    """Tags without anything to lead them: the first of them leads."""
    lead, _, rest = tags.partition(",")
    return lead, rest


def stem_of(name: str) -> str:
    """A picture's file name without its ending."""
    return PurePosixPath(name).stem
