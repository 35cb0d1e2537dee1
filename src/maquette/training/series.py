"""Several runs one after the other in one folder: the parts of a model that are trained apart, with one command."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maquette.config.load import load_config
from maquette.config.schema import RunConfig
from maquette.config.toml import dump
from maquette.errors import CheckpointError, Interrupted
from maquette.runs.events import Finished, read_events
from maquette.runs.files import write_text
from maquette.runs.rundir import RunDir, create_run
from maquette.training.processes import ALONE, Processes
from maquette.training.session import run

logger = logging.getLogger(__name__)

PLANNED = "series"
"""The folder of the settings of all runs of a series, each in a file of its number and name."""


@dataclass(frozen=True, slots=True)
class Series:
    """The folder of several runs. A value: nothing is created or read by making one."""

    root: Path

    @property
    def planned(self) -> Path:
        """Where the settings of all runs lie from the beginning, so that those to come are not forgotten."""
        return self.root / PLANNED

    @property
    def exists(self) -> bool:
        """Whether the folder is that of a series."""
        return self.planned.is_dir()

    def run(self, name: str) -> RunDir:
        """The folder of one of its runs."""
        return RunDir(self.root / name)


def begin(root: Path, configs: Mapping[str, RunConfig]) -> Series:
    """A new series: write down what its runs will be, in their order, by name.

    Raises ConfigError where something is in the folder already.
    """
    series = Series(create_run(root).root)
    series.planned.mkdir()
    for number, (name, config) in enumerate(configs.items(), 1):
        write_text(series.planned / f"{number}-{name}.toml", dump(config))
    return series


def settings_in(series: Series) -> dict[str, RunConfig]:
    """The runs of a series by name, in their order. Raises CheckpointError where it holds none."""
    found = ((re.fullmatch(r"(\d+)-(.+)", file.stem), file) for file in series.planned.glob("*.toml"))
    numbered = sorted((int(match[1]), match[2], file) for match, file in found if match)
    if not numbered:
        raise CheckpointError(
            f"{series.planned}: holds no settings of a run. Start the series again, with another --out."
        )
    return {name: load_config(file) for _, name, file in numbered}


def run_series(series: Series, *, processes: Processes = ALONE) -> list[RunDir]:
    """Train the runs of a series that are not finished, going on with one that was begun; return all their folders.

    Raises as ``run`` does, and Interrupted, saying how to go on with all of them.
    """
    configs = settings_in(series)
    for name, config in configs.items():
        directory = series.run(name)
        if is_finished(directory):
            continue
        processes.meet()
        if processes.is_first:
            logger.info("run %s: %s", list(configs).index(name) + 1, directory.root)
        settings = config.model_copy(update={"output": config.output.model_copy(update={"dir": directory.root})})
        try:
            run(settings, out=directory.root, resume=directory.config.is_file(), processes=processes)
        except Interrupted as error:
            raise Interrupted(
                f"{error}\nWith the runs after it: maquette train --resume --out {series.root}"
            ) from error
    return [series.run(name) for name in configs]


def is_finished(directory: RunDir) -> bool:
    """Whether a run has come to its end."""
    return directory.events.is_file() and bool(read_events(directory.events).of(Finished))
