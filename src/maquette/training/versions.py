"""What a result depends on besides its configuration: versions, commit, machine."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from maquette.training.checkpoint import Json, environment

LIBRARIES = (
    "maquette", "torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy", "pillow",
    "prodigyopt", "pytorch-optimizer", "bitsandbytes",
)  # fmt: skip


def versions() -> dict[str, Json]:
    """Library versions, the commit of maquette's checkout where it is one, Python and the machine's kind."""
    return {
        "libraries": {name: found for name in LIBRARIES if (found := _version(name)) is not None},
        "commit": commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "environment": environment(),
    }


def commit() -> str | None:
    """The commit of the checkout that maquette runs from, with "+" if files differ from it; None when installed."""
    here = Path(__file__).parent
    head = _git(here, "rev-parse", "HEAD")
    ours = _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
    if head is None or ours is None:  # no checkout, or a virtual environment inside somebody else's
        return None
    return head + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no", ".") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
