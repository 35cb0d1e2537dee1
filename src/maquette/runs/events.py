"""What happens in a run, one JSON object per line: written as it happens, read by everything that looks at a run."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from maquette.errors import DataError
from maquette.runs.files import write_text

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number that may not be finite: then it is written as null, as JSON has no other word for it, and read as nan."""


@dataclass(frozen=True, slots=True)
class Started:
    """Training begins, or goes on, at a step; steps is where it will end."""

    step: int
    steps: int
    kind: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that share a learning rate: tensors of them, with so many numbers in all."""

    name: str
    lr: float
    weight_decay: float
    tensors: int
    numbers: int


@dataclass(frozen=True, slots=True)
class Grouped:
    """What the optimizer has before it, told once at the start of the run; rates are those without a schedule."""

    step: int
    groups: tuple[Group, ...]
    kind: Literal["grouped"] = "grouped"


@dataclass(frozen=True, slots=True)
class Step:
    """Optimizer steps were made, up to and with ``step`` (counted from 1).

    loss is the mean over the steps since the last record, seconds the time they took, lr each group's rate.
    """

    step: int
    images_seen: int
    loss: Number
    grad_norm: Number
    seconds: float
    lr: Mapping[str, float]
    memory_bytes: int | None = None
    kind: Literal["step"] = "step"


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint was written; path is relative to the run's folder."""

    step: int
    path: str
    kind: Literal["saved"] = "saved"


@dataclass(frozen=True, slots=True)
class Previewed:
    """A picture was made along the way; path is relative to the run's folder, scores are what was measured on it."""

    step: int
    prompt: str
    seed: int
    path: str
    scores: Mapping[str, Number] = field(default_factory=dict)
    kind: Literal["previewed"] = "previewed"


@dataclass(frozen=True, slots=True)
class Scored:
    """A number was measured: the validation loss, or a score of the pictures made at this step.

    low, high: the ends of its 95 % interval, not a number where it has none. network: what the pictures were read with.
    """

    step: int
    name: str
    value: Number
    low: Number = math.nan
    high: Number = math.nan
    network: str = ""
    kind: Literal["scored"] = "scored"


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the person should know, in one sentence."""

    step: int
    message: str
    kind: Literal["warned"] = "warned"


@dataclass(frozen=True, slots=True)
class Finished:
    """The run came to its end; seconds counts all of it, over every resume."""

    step: int
    seconds: float
    kind: Literal["finished"] = "finished"


Event = Started | Grouped | Step | Saved | Previewed | Scored | Warned | Finished
E = TypeVar("E", Started, Grouped, Step, Saved, Previewed, Scored, Warned, Finished)
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


@dataclass(frozen=True, slots=True)
class Log:
    """The events of a run that could be read; ``torn`` is a last line that was cut off as it was written, or ""."""

    events: tuple[Event, ...]
    torn: str = ""

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]


def append_events(path: Path, events: Iterable[Event]) -> None:
    """Add events to the log in one write, and wait until they are on the disk."""
    data = b"".join(map(_line, events))
    with path.open("ab", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())


def read_events(path: Path) -> Log:
    """The log of a run. Raises DataError, naming all of them, for lines that are no events, except a torn last one.

    A reader may come while the run writes: a line counts only when its end is there.
    """
    *lines, torn = path.read_bytes().split(b"\n")
    events: list[Event] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(_EVENT.validate_json(line))
        except ValidationError as error:
            problems.append(f"line {number} ({error.errors()[0]['msg']})")
    if problems:
        raise DataError(f"{path}: not all of it are events: {'; '.join(problems)}. Remove these lines.")
    return Log(tuple(events), torn.decode(errors="replace"))


def keep_until(path: Path, step: int) -> Log:
    """Cut the log behind ``step``, atomically, so that a run resumed from there leaves the log of one run.

    Returns what was cut, which a torn last line and an earlier end of the run are part of.
    """
    log = read_events(path)
    kept = [event for event in log.events if _stays(event, step)]
    write_text(path, b"".join(map(_line, kept)).decode())
    return Log(tuple(event for event in log.events if not _stays(event, step)), log.torn)


def _stays(event: Event, step: int) -> bool:
    return event.step <= step and not isinstance(event, Finished)


def _line(event: Event) -> bytes:
    return _EVENT.dump_json(event) + b"\n"
