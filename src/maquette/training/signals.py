"""Being asked to stop, or to do something now, without losing the step that is under way."""

import signal
from collections.abc import Generator
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
    """Inside, Ctrl-C and SIGTERM are noted instead of breaking off; a second Ctrl-C breaks off at once."""
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal hands over
        if stop.reason is not None:
            raise KeyboardInterrupt
        stop.reason = signal.Signals(number).name

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def asked(run: Path, what: str) -> bool:
    """Whether a file of this name was put into the run's folder (``touch runs/dog/save-now``); takes it away."""
    request = run / what
    if not request.exists():
        return False
    request.unlink(missing_ok=True)
    return True
