"""How the processor's memory is taken and given back while a network computes."""

import ctypes
import sys

import torch

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h."""

LARGEST = 32 << 20
"""The highest threshold that glibc takes on 64 bits: larger blocks are still the system's, one by one."""


def keep_freed_memory(device: torch.device) -> bool:
    """Let this process keep the memory that it frees, on a CPU under glibc; whether it will.

    Every pass frees its tensors and asks for the same ones again. glibc gives back what lies free at the end of its
    heap, and the system has to find, empty and map those pages anew in each step. Kept, they cost nothing; the process
    stays as large as it has been at its largest. Weights that are loaded before are not affected. Without glibc nothing
    changes.
    """
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST)) and bool(mallopt(TRIM_THRESHOLD, -1))
