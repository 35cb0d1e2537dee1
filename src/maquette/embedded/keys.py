"""Random streams keyed by integers and names, the same on every machine and in every process."""

import hashlib
import random


def rng_for(*parts: int | str) -> random.Random:
    """A generator that is a pure function of its key; different keys give unrelated streams."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))
