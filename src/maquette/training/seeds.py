"""Random streams as pure functions of where a run is, so that nothing about randomness is ever saved."""

import hashlib
from collections.abc import Generator as Yields
from contextlib import contextmanager

import torch
from torch import Generator


def key_at(seed: int, step: int, index: int = 0, stream: str = "noise") -> int:
    """A 63-bit key, the same in every process and on every platform, unlike ``hash``."""
    digest = hashlib.sha256(f"{seed}/{step}/{index}/{stream}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def rng_at(seed: int, step: int, index: int = 0, stream: str = "noise") -> Generator:
    """A CPU generator for one (seed, step, index, stream).

    index: the global micro-batch of the step, counted over processes and accumulation alike, so that the two are
    interchangeable.
    """
    return Generator().manual_seed(key_at(seed, step, index, stream))


@contextmanager
def global_generators(key: int) -> Yields[None]:
    """Seed torch's global generators inside the block and give them back untouched.

    Dropout in other libraries' layers draws from them, and offers no generator of its own.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        # torch.manual_seed notes the call, with its stack, for every kind of device that is not in use: 0.2 ms a step.
        torch.default_generator.manual_seed(key)
        if devices:
            torch.cuda.manual_seed_all(key)
        if torch.backends.mps.is_available():
            torch.mps.manual_seed(key)
        yield
