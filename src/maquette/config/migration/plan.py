"""What becomes of a command: settings of ours, each with the flag that it comes from, and remarks on the rest."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from maquette.config.answer import Foreign, Status
from maquette.config.keys import keys, tables
from maquette.config.migration.command import Command, Given
from maquette.config.migration.scripts import Script

CountPictures = Callable[[Path], int | None]
"""How many pictures a folder holds, each as often as its folder's name says; None where there is no such folder."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One of our keys, or a section that is to be there ({}), and the words that it comes from."""

    key: str
    value: object
    said: str
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class Remark:
    """Why something is not taken over, or not just as it was. open: a person has to decide or to complete it."""

    status: Literal[Status, "unknown", "open"]
    said: str
    why: str


Outcome = Setting | Remark


@dataclass(frozen=True, slots=True)
class Asked:
    """A command as rules look at it: what is given, with the script's defaults underneath."""

    command: Command
    given: Mapping[str, Given]
    count_pictures: CountPictures

    @property
    def script(self) -> Script:
        """The training script."""
        return self.command.script

    def is_said(self, name: str) -> bool:
        """Whether a person wrote this flag."""
        return name in self.given and not self.given[name].is_default

    def is_on(self, name: str) -> bool:
        """Whether a switch is on."""
        return name in self.given and is_true(self.given[name].value)

    def text(self, name: str) -> str:
        """A flag's value as text; empty where it is not given."""
        return str(self.given[name].value) if name in self.given else ""

    def number(self, name: str) -> float | None:
        """A flag's value as a number; None where it is not given or is none."""
        try:
            return float(self.text(name))
        except ValueError:
            return None

    def steps(self) -> int | None:
        """The optimizer steps of the run; None where only the number of pictures would tell."""
        steps, epochs = self.number("max_train_steps"), self.number("max_train_epochs")
        if self.script.trainer == "diffusers":
            steps = steps if self.is_said("max_train_steps") else None
            epochs = None if steps is not None else self.number("num_train_epochs")
        return self.in_steps(epochs) if epochs is not None else None if steps is None else int(steps)

    def in_steps(self, epochs: float) -> int | None:
        """A number of passes over the data in optimizer steps; None where the pictures cannot be counted.

        Each pass is cut into whole steps, as the scripts do it; class images make it longer where they are more.
        """
        folder = next((self.text(n) for n in ("instance_data_dir", "train_data_dir", "image_dir") if self.text(n)), "")
        pictures = self.count_pictures(Path(folder)) if folder else None
        if not pictures:
            return None
        pictures *= int(self.number("repeats") or self.number("num_repeats") or 1)
        if self.script.trainer == "diffusers" and self.is_on("with_prior_preservation"):
            pictures = max(pictures, int(self.number("num_class_images") or 0))
        batch = int(self.number("train_batch_size") or 1) * self.command.processes
        accumulation = int(self.number("gradient_accumulation_steps") or 1)
        return max(1, round(epochs * math.ceil(math.ceil(pictures / batch) / accumulation)))


def is_true(value: object) -> bool:
    """Whether a switch is on: one without a value, or with a word for yes."""
    return str(value).lower() not in ("false", "0", "no", "none", "")


def plain(flag: Given, entry: Foreign) -> Iterator[Outcome]:
    """The setting that the table alone says: a key for a value, a value for a switch, our word for theirs."""
    key = entry.keys[0]
    if entry.on is not None:
        if not is_true(flag.value):
            return
        yield Setting(key, entry.on, flag.said, flag.is_default)
    else:
        value = flag.value
        if entry.words:
            if str(value).lower() not in entry.words:
                known = ", ".join(sorted({str(word) for word in entry.words.values()}))
                yield Remark("unknown", flag.said, f"{key} has no such choice; there are {known}.")
                return
            value = entry.words[str(value).lower()]
        found = typed(key, value, flag)
        yield found
        if isinstance(found, Remark):
            return
    for beside, fixed in entry.also.items():
        yield Setting(beside, fixed, flag.said, flag.is_default)


def typed(key: str, value: object, flag: Given) -> Outcome:
    """A value as the type of a key: text from a command line becomes a number, a truth, an array of one."""
    problem = ""
    for adapter, is_array in _types(key):
        try:
            given = [value] if is_array and not isinstance(value, list) else value
            return Setting(key, adapter.validate_python(given), flag.said, flag.is_default)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]["msg"].removeprefix("Input should be ")
    return Remark("open", flag.said, f"{key} should be {problem}; set it by hand.")


@cache
def _types(key: str) -> tuple[tuple[TypeAdapter[object], bool], ...]:
    found = [each for each in keys() if each.path == key]
    assert found or key in tables(), key
    return tuple(
        (TypeAdapter(each.field.rebuild_annotation()), "tuple" in str(each.field.annotation)) for each in found
    )
