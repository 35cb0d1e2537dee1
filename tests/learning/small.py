"""Runs that take a second: tiny bases, a few pictures of noise, a handful of steps."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.contract import tiny

from maquette.cli.app import main
from maquette.config.load import load_config
from maquette.config.toml import toml_value
from maquette.runs.events import Log, read_events
from maquette.runs.rundir import RunDir
from maquette.training.session import run

PROMPT = "a photo of sks dog"

QUICK: Mapping[str, object] = {
    "adapter.rank": 2,
    "optimizer.lr": 0.01,
    "training.steps": 3,
    "preview.every": 0,
    "preview.steps": 2,
    "logging.every": 1,
    "logging.trackers": [],
}
"""What makes a run short; settings of a test are laid over it."""


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny checkpoint by its kind, saved once."""
    root = tmp_path_factory.mktemp("bases")

    def base(kind: str) -> Path:
        folder = root / kind
        return folder if folder.exists() else tiny.save(kind, folder)

    return base


def paint(folder: Path, names: tuple[str, ...] = ("one", "two", "three"), size: tuple[int, int] = (24, 24)) -> Path:
    """Write pictures of noise, each different; size is (height, width)."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        values = np.random.default_rng([seed, *name.encode()]).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"{name}.png")
    return folder


def sets(settings: Mapping[str, object]) -> list[str]:
    """Settings as ``--set`` wants them."""
    return [f"{key}={toml_value(tuple(v) if isinstance(v, list) else v)}" for key, v in settings.items()]


def train(photos: Path | None, base: Path, out: Path, *, resume: bool = False, **settings: object) -> RunDir:
    """Run with QUICK and some settings more; double underscores stand for dots, None takes a setting of QUICK away."""
    given = {**QUICK, "data.prompt": PROMPT, **{key.replace("__", "."): value for key, value in settings.items()}}
    if given.get("adapter.kind") == "full":
        given["adapter.rank"] = None
    flags = {"SOURCE": photos, "--base": base}
    config = load_config(flags=flags, sets=sets({key: v for key, v in given.items() if v is not None}))
    return run(config, out=out, resume=resume)


def events(run: RunDir) -> Log:
    """The log of a run."""
    return read_events(run.events)


def maquette(*arguments: object) -> int:
    """The command line, in this process."""
    return main([str(argument) for argument in arguments])


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its name there."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
