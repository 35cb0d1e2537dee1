"""A GPU that is too small, said with what makes less of it do."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

from maquette.errors import ModelError


@contextmanager
def enough_memory(cure: str) -> Generator[None]:
    """Turn running out of the device's memory into a ModelError with a cure: a sentence, without its full stop."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        lacking = str(error).partition(". ")[0]
        raise ModelError(f"The device's memory is not enough ({lacking}). {cure}, or use a larger device.") from error
