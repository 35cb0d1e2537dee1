"""Being asked to stop, or to do something now, without losing the step that is under way."""

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from maquette.training.processes import Processes

AGAIN_SECONDS = 2.0
"""A second signal that comes sooner is the same wish: launchers pass Ctrl-C on, and some do so twice."""

NOW = ("save", "preview")
"""What a file in the run's folder can ask for (``touch runs/dog/save-now``)."""


@dataclass(slots=True)
class Stop:
    """Whether the run was asked to stop, and by which signal; 0 is none."""

    number: int = 0
    at: float = 0.0


@contextmanager
def stopping(*, launched: bool = False) -> Generator[Stop]:
    """Inside, Ctrl-C and SIGTERM are noted instead of breaking off; the second one breaks off at once.

    launched: a launcher stands between the person and this process, and may repeat a signal.
    """
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal hands over
        if not stop.number:
            stop.number, stop.at = number, time.monotonic()
        elif not launched or time.monotonic() - stop.at > AGAIN_SECONDS:
            raise KeyboardInterrupt

    with handling(note, signal.SIGINT, signal.SIGTERM):
        yield stop


@contextmanager
def breaking_off() -> Generator[None]:
    """Inside, SIGTERM breaks off as Ctrl-C does, so that nothing half-written is left behind."""
    with handling(signal.default_int_handler, signal.SIGTERM):
        yield


@contextmanager
def handling(handler: Callable[[int, FrameType | None], object], *numbers: int) -> Generator[None]:
    """Inside, signals go to a handler. Only a program's main thread can have handlers: in others, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def asked(run: Path, what: str) -> bool:
    """Whether a file of this name was put into the run's folder (``touch runs/dog/save-now``); takes it away."""
    request = run / what
    if not request.exists():
        return False
    request.unlink(missing_ok=True)
    return True


def wishes(stop: Stop, run: Path, processes: Processes) -> tuple[str | None, set[str]]:
    """What the run is asked between two steps, the same in all processes: the signal to stop by, and what to do now.

    A signal to any process counts for all of them; the files count in the first.
    """
    files = sum(1 << i for i, what in enumerate(NOW) if processes.is_first and asked(run, f"{what}-now"))
    told = processes.meet(stop.number, files)
    number, bits = max(row[0] for row in told), told[0][1]
    return signal.Signals(number).name if number else None, {what for i, what in enumerate(NOW) if bits >> i & 1}
