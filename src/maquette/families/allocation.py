"""How the processor's memory is taken and given back while a network computes."""

import ctypes
import sys
from collections.abc import Callable

import torch

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""M_TRIM_THRESHOLD and M_MMAP_MAX of glibc's malloc.h."""


def keep_freed_memory(device: torch.device) -> bool:
    """Let this process keep the memory that it frees, on a CPU under glibc; whether it will.

    Every pass frees its tensors and asks for the same ones again. glibc gives large blocks and the free end of its heap
    back, and the system has to find, empty and map those pages anew in each step (docs/speed.md). Kept, they cost
    nothing; the process stays as large as it has been at its largest. Weights that are loaded before are not affected.
    Without glibc nothing changes.
    """
    mallopt = _of_glibc("mallopt") if device.type == "cpu" else None
    return mallopt is not None and bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))


def give_back_freed_memory() -> None:
    """Give the system the pages that are free now, under glibc, also those between blocks that are in use.

    For what happens once: large blocks that come and go between others that stay would leave holes behind, which a
    process that keeps its memory has for good.
    """
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc's; None under another system or C library, such as musl."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
