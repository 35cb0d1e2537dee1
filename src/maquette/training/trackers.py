"""Other places that get a run's numbers: TensorBoard, Weights & Biases, MLflow, through accelerate's clients."""

import importlib.util
import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from maquette.config.running import LoggingConfig
from maquette.errors import MissingDependencyError
from maquette.runs.events import Event, Scored, Step
from maquette.runs.rundir import RunDir

logger = logging.getLogger(__name__)

Tracker = Callable[[Event], None]

OPTIONAL = "tensorboard"
"""The default tracker: where it is not installed, a run goes on without it."""


@contextmanager
def open_trackers(config: LoggingConfig, run: RunDir) -> Generator[Tracker]:
    """Inside, a function that passes steps and scores on to every tracker that was asked for (`check_trackers`)."""
    clients = [client for name in config.trackers if (client := _open(name, config.project, run)) is not None]

    def track(event: Event) -> None:
        for client in clients:
            if values := _values(event):
                client.log(values, step=event.step)

    for client in clients:
        client.start()
    try:
        yield track
    finally:
        for client in clients:
            client.finish()


def check_trackers(config: LoggingConfig) -> None:
    """Raise MissingDependencyError for trackers that are not installed, but for TensorBoard, the default."""
    missing = [name for name in config.trackers if name != OPTIONAL and importlib.util.find_spec(name) is None]
    if missing:
        cure = f'pip install "maquette[{",".join(missing)}]"'
        raise MissingDependencyError(f"logging.trackers: not installed: {', '.join(missing)}. Install them: {cure}.")


def _open(name: str, project: str, run: RunDir):  # noqa: ANN202 - accelerate's clients share no exported type
    if importlib.util.find_spec(name) is None:
        cure = f'pip install "maquette[{name}]"'
        logger.warning("No TensorBoard curves, as it is not installed; %s adds them. events.jsonl has it all.", cure)
        return None
    from accelerate import PartialState
    from accelerate.tracking import MLflowTracker, TensorBoardTracker, WandBTracker

    PartialState()  # accelerate's clients ask it which process may write
    match name:
        case "tensorboard":
            return TensorBoardTracker(run.root.name, logging_dir=run.root / "logs")
        case "wandb":
            return WandBTracker(project, name=run.root.name, dir=str(run.root))
        case _:
            return MLflowTracker(project, run_name=run.root.name)


def _values(event: Event) -> Mapping[str, float]:
    match event:
        case Step():
            rates = {f"lr/{name}": rate for name, rate in event.lr.items()}
            return {"loss": event.loss, "grad_norm": event.grad_norm, **rates}
        case Scored():
            return {event.name: event.value}
        case _:
            return {}
