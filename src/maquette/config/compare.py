"""What differs between two configurations, and which differences a resumed run may have."""

from collections.abc import Iterator
from dataclasses import dataclass

from maquette.config.schema import RunConfig
from maquette.config.toml import toml_value

_FREE = ("checkpoints.", "preview.", "logging.", "output.", "validation.every", "evaluation.patience")


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that differs: its dotted path and both values, as TOML spells them ("unset" for none)."""

    path: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}: {self.old} -> {self.new}"


def changes(old: RunConfig, new: RunConfig) -> list[Change]:
    """Every setting that differs between two configurations; those that only the second has come last."""
    before, after = dict(_flat(old.model_dump())), dict(_flat(new.model_dump()))
    return [
        Change(path, before.get(path, "unset"), after.get(path, "unset"))
        for path in {**before, **after}
        if before.get(path, "unset") != after.get(path, "unset")
    ]


def resume_refusals(old: RunConfig, new: RunConfig) -> list[Change]:
    """The changes under which a resumed run would not be the run that it continues.

    More training.steps, and another cadence of checkpoints, previews, validation and logs, are allowed; so is another
    place or form of the output. Both configurations should be `resolved`.
    """
    return [change for change in changes(old, new) if not _is_free(change, old, new)]


def _is_free(change: Change, old: RunConfig, new: RunConfig) -> bool:
    if change.path == "training.steps":
        before, after = old.training.steps, new.training.steps
        return before != "auto" and after != "auto" and after > before
    if change.path == "evaluation.every":  # what was never scored has no base to compare with
        return old.evaluation.every != 0
    return change.path.startswith(_FREE)


def _flat(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(part, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, tuple) and any(isinstance(part, dict) for part in value):
        for i, part in enumerate(value):
            yield from _flat(part, f"{prefix}.{i}")
    else:
        yield prefix, "unset" if value is None else toml_value(value)
