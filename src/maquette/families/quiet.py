"""Other libraries' progress bars, put aside while they work for us."""

from collections.abc import Generator
from contextlib import contextmanager

from transformers.utils import logging as bars


@contextmanager
def without_bars() -> Generator[None]:
    """Inside, transformers shows no progress bars of its own."""
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
