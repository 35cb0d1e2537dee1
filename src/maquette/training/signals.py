"""Being asked to stop, or to do something now, without losing the step that is under way."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType


@dataclass(slots=True)
class Stop:
    """Whether the run was asked to stop, and by what."""

    reason: str | None = None


@contextmanager
def stopping() -> Generator[Stop]:
    """Inside, Ctrl-C and SIGTERM are noted instead of breaking off; the second one breaks off at once."""
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal hands over
        if stop.reason is not None:
            raise KeyboardInterrupt
        stop.reason = signal.Signals(number).name

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
