"""What holds for every test: no network, no hidden randomness, and nothing global left behind."""

import os
import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before anything imports huggingface_hub, which reads these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

WATCHED = ("CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_OFFLINE", "HOME", "OMP_NUM_THREADS", "PATH", "TMPDIR")
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture(autouse=True)
def no_network(nothing_left_behind: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that would leave this machine; loopback and local sockets stay open.

    It asks for `nothing_left_behind` first, so that this looks after monkeypatch has put everything back.
    """
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in LOOPBACK:
            pytest.fail(f"a test tried to reach {address[0]!r} over the network")
        connect(self, address)

    def guarded_resolve(host: object, *args: object, **kwargs: object) -> list:
        if host not in LOOPBACK and host is not None:
            pytest.fail(f"a test tried to look up {host!r} on the network")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test from the same global random state, so that its result does not depend on who ran before.

    The library itself never reads global generators; third parties (peft's initialisation, for one) do.
    """
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def _global_state() -> dict[str, object]:
    state: dict[str, object] = {
        "working directory": Path.cwd(),
    }
    # Only variables that a run depends on: third parties set others for their own use when they are imported.
    state |= {f"${name}": os.environ.get(name) for name in WATCHED}
    torch = sys.modules.get("torch")
    if torch is not None:
        state["torch default dtype"] = torch.get_default_dtype()
        state["torch threads"] = torch.get_num_threads()
        state["torch gradient mode"] = torch.is_grad_enabled()
        state["torch deterministic mode"] = torch.are_deterministic_algorithms_enabled()
    return state


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves the working directory, the environment or torch's global switches changed."""
    before = _global_state()
    yield
    after = _global_state()
    changed = [name for name in before if name in after and before[name] != after[name]]
    assert not changed, f"the test left these changed: {changed}"
