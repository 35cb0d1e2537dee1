"""best.json: which checkpoint of a run was chosen, by which rule, and what the scores say of the run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from maquette.errors import DataError
from maquette.runs.files import write_text
from maquette.runs.rundir import RunDir

FILE = "best.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The chosen checkpoint of a run so far.

    step: whose weights lie in best/. after: the last step that was compared. by: what the choice rests on. rule,
    reason: how it is made, and what decided it here, in words. scores: of the chosen step, by name. balance: what the
    rule compares, of every step that was compared (higher is better; with "validation loss", lower). findings:
    sentences on what the scores say of the whole run, overfitting among them.
    """

    step: int
    after: int
    by: Literal["scores", "validation loss"]
    rule: str
    reason: str
    scores: Mapping[str, float] = field(default_factory=dict)
    balance: Mapping[int, float] = field(default_factory=dict)
    findings: tuple[str, ...] = ()


_BEST = TypeAdapter(Best)


def write_best(folder: Path, best: Best) -> None:
    """Write best.json into a folder."""
    write_text(folder / FILE, _BEST.dump_json(best, indent=1).decode() + "\n")


def read_best(run: RunDir) -> Best | None:
    """What a run has chosen; None where it has not. Raises DataError where best.json is damaged."""
    file = run.best / FILE
    if not file.is_file():
        return None
    try:
        return _BEST.validate_json(file.read_bytes())
    except ValidationError as error:
        raise DataError(f"{file}: is damaged ({error.errors()[0]['msg']}). Remove it, or resume the run.") from error
