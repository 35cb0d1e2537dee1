"""The files of one run: the contract between training and everything that looks at it."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from maquette.errors import CheckpointError, ConfigError

EXPORT, BEST = "export", "best"

STEPS, RAW = "steps", "raw"
"""Folders of an export: the adapter after each checkpoint, and the weights as they are beside a moving average."""


@dataclass(frozen=True, slots=True)
class RunDir:
    """Where a run keeps what. A value: nothing is created or read by making one."""

    root: Path

    @property
    def config(self) -> Path:
        """The resolved configuration that the run was started with."""
        return self.root / "config.toml"

    @property
    def versions(self) -> Path:
        """Library versions, commit and machine of the run, as JSON."""
        return self.root / "versions.json"

    @property
    def events(self) -> Path:
        """What happened, one JSON object per line."""
        return self.root / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of what can be resumed from."""
        return self.root / "checkpoints"

    @property
    def class_images(self) -> Path:
        """The folder of class images that the run makes, where the configuration names no other."""
        return self.root / "class_images"

    @property
    def previews(self) -> Path:
        """The folder of pictures made along the way."""
        return self.root / "previews"

    @property
    def scored(self) -> Path:
        """The folder of pictures made to be scored."""
        return self.root / "scored"

    @property
    def best(self) -> Path:
        """The folder of the chosen checkpoint: its files, and best.json with the reasons."""
        return self.root / BEST

    @property
    def export(self) -> Path:
        """The folder of what the run is for: adapters in each dialect, or a fine-tuned model."""
        return self.root / EXPORT

    @property
    def steps(self) -> Path:
        """The folder of the adapter as it was after each checkpoint."""
        return self.export / STEPS

    @property
    def start(self) -> Path:
        """What each layer of an adapter started from, as JSON, where that was not at random."""
        return self.root / "start.json"

    @property
    def strengths(self) -> Path:
        """Scores of the exported adapter at several strengths, as JSON."""
        return self.root / "strengths.json"

    @property
    def card(self) -> Path:
        """The model card."""
        return self.root / "README.md"

    @property
    def report(self) -> Path:
        """The self-contained report."""
        return self.root / "report.html"

    def preview(self, step: int, prompt: int, seed: int) -> Path:
        """The picture of the prompt with this number, at a step and with a seed."""
        return self.previews / f"step-{step:06d}-prompt-{prompt:02d}-seed-{seed}.png"

    def scored_picture(self, step: int, number: int) -> Path:
        """The picture with this number among those that are scored at a step."""
        return self.scored / f"step-{step:06d}-{number:03d}.png"

    def relative(self, path: Path) -> str:
        """How an event names a file of the run: relative to it, so that the folder can be moved."""
        return path.relative_to(self.root).as_posix()


def run_of(path: Path) -> RunDir | None:
    """The run that a path is the folder of, or whose export/ or best/ it is or lies in; None for any other origin."""
    within = [folder.parent for folder in (path, *path.absolute().parents) if folder.name in (EXPORT, BEST)]
    return next((run for root in (path, *within) if (run := RunDir(root)).config.is_file()), None)


def create_run(root: Path) -> RunDir:
    """A new run in a folder that is absent or empty. Raises ConfigError as ``check_new``."""
    check_new(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(root, error) from error
    return RunDir(root)


def check_new(root: Path) -> None:
    """Raise ConfigError where a new run cannot have this folder; nothing is written.

    Either something is in it already, or it is no folder and none can be made there. Some places refuse only whoever
    tries (a disk that takes no folders from its owner either): ``create_run`` says so then.
    """
    place = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    try:
        found = sorted(path.name for path in place.iterdir())
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _unusable(root, error) from error
    taken = found if place == root.absolute() else []
    if taken:
        shown = ", ".join(taken[:3]) + (", ..." if len(taken) > 3 else "")
        cure = "Continue that run with --resume" if "config.toml" in taken else "Empty it"
        raise ConfigError(f"output.dir: {root} is not empty: it holds {shown}. {cure}, or name another with --out.")


def _unusable(root: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"output.dir: {root} cannot be used as a run's folder ({error.strerror}). Name another with --out."
    )


def open_run(root: Path) -> RunDir:
    """A run that exists. Raises CheckpointError where the folder holds none."""
    run = RunDir(root)
    if not run.config.is_file():
        raise CheckpointError(
            f"{root} holds no run: {run.config.name} is not there. Name the folder that a run was started with."
        )
    return run
