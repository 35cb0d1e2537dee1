"""What a person sees of a run in the terminal: one live line, or plain lines where the output is no terminal."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from maquette.runs.events import Step

SMOOTHING = 0.98
"""Decay per step of the average of the loss that is shown: one step's loss is mostly the noise level that was drawn."""

PLAIN_SECONDS = 10.0


@dataclass(slots=True)
class Line:
    """The progress line of a training run."""

    steps: int
    show: Callable[[int, str], None]
    smoothed: float | None = None
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    first: int | None = None

    def update(self, event: Step, steps: int) -> None:
        """Take in the record of the last ``steps`` steps."""
        if self.first is None:
            self.first = event.step - steps
        keep = SMOOTHING**steps
        self.smoothed = event.loss if self.smoothed is None else keep * self.smoothed + (1 - keep) * event.loss
        rate = (event.step - self.first) / max(1e-9, time.monotonic() - self.started)
        left = timedelta(seconds=round((self.steps - event.step) / max(rate, 1e-9)))
        lr = max(event.lr.values())
        memory = "" if event.memory_bytes is None else f" · {event.memory_bytes / 2**30:.1f} GB"
        self.show(
            event.step,
            f"step {event.step}/{self.steps} · {rate:.2f} it/s · loss {self.smoothed:.4f} · lr {lr:.2e}{memory} · "
            f"{left} left",
        )


@contextmanager
def training_line(steps: int, *, shown: bool = True) -> Generator[Line]:
    """A live line while the block trains; ``shown`` in one of several processes."""
    console = Console(stderr=True)
    if not shown:
        yield Line(steps, lambda _step, _text: None)
        return
    if not console.is_terminal:
        show = _plain(0.0)
        yield Line(steps, lambda step, text: show(text, is_due=step == steps))
        return
    with Progress(BarColumn(bar_width=30), TextColumn("{task.description}"), console=console) as progress:
        task = progress.add_task("", total=steps)
        yield Line(steps, lambda step, text: progress.update(task, completed=step, description=text))


class _Show(Protocol):
    def __call__(self, text: str, *, is_due: bool = False) -> None: ...


def _plain(last: float) -> _Show:
    """Lines so many seconds apart, but for those that are due. last: when there was one before, on the clock."""

    def show(text: str, *, is_due: bool = False) -> None:
        nonlocal last
        now = time.monotonic()
        if is_due or now - last >= PLAIN_SECONDS:
            last = now
            sys.stderr.write(text + "\n")

    return show


@contextmanager
def counting(what: str, *, shown: bool = True) -> Generator[Callable[[int, int, str], None]]:
    """A bar for work of known length: call it with (done, total, name) after each piece.

    Where the output is no terminal, work that takes long has a line now and then.
    """
    console = Console(stderr=True)
    if shown and not console.is_terminal:
        show = _plain(time.monotonic())
        yield lambda done, total, name: show(f"{what} {done}/{total} {name}".rstrip())
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed}/{task.total}"),
        console=console,
        transient=True,
        disable=not shown,
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total, name: progress.update(task, completed=done, total=total, description=f"{what} {name}")
