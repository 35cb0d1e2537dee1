"""What a process does with memory that it frees, seen by the pages that the system has to bring it anew."""

import subprocess
import sys

import pytest
import torch

from maquette.families.allocation import keep_freed_memory

PAGES = """
import resource
import torch
from maquette.families.allocation import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(1 << 22) for _ in range(16)]
    del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = [faults() for _ in range(3)]
done = keep_freed_memory(torch.device("cpu"))
kept = [faults() for _ in range(12)]
print(done, min(plain), kept[-1])
"""


def test_only_the_memory_of_processors_is_meant():
    assert not keep_freed_memory(torch.device("cuda"))
    assert not keep_freed_memory(torch.device("meta"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_there_for_the_next_pass():
    """Sixteen times 16 MiB: 65536 pages, or 128 large ones, in every pass, or none once the first were brought."""
    told = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True, timeout=120)
    done, plain, kept = told.stdout.split()
    if done == "False":
        pytest.skip("no mallopt here")
    assert int(plain) >= 128
    assert int(kept) < 128
