"""What a setting of another trainer is here: one answer for each of their names, in the tables of this package."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["mapped", "needless", "refused", "not yet"]


@dataclass(frozen=True, slots=True)
class Foreign:
    """One setting of another trainer: whether we have, need or refuse it, our keys for it, and a note.

    on: for a switch of theirs, what the first key is where it is on. words: their words for a value, in small letters,
    and ours. also: what else it sets, by key.
    """

    status: Status
    keys: tuple[str, ...] = ()
    note: str = ""
    on: object = None
    words: Mapping[str, object] = field(default_factory=dict)
    also: Mapping[str, object] = field(default_factory=dict)


def to(
    *keys: str,
    note: str = "",
    on: object = None,
    words: Mapping[str, object] | None = None,
    also: Mapping[str, object] | None = None,
) -> Foreign:
    """A setting that we have too, under these keys."""
    return Foreign("mapped", keys, note, on, words or {}, also or {})


def needless(note: str, *keys: str) -> Foreign:
    """A setting that nobody needs here; the note says why."""
    return Foreign("needless", keys, note)


def refused(note: str, *keys: str) -> Foreign:
    """A setting that is left out on purpose; the note says why, the keys what to use instead."""
    return Foreign("refused", keys, note)


def not_yet(note: str) -> Foreign:
    """A setting for something that is not here yet, which the note names."""
    return Foreign("not yet", (), note)
