"""Writing files so that a reader, or a crash, finds the old one or the new one and nothing between."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Give a temporary path beside ``path``; what the block writes there takes its place when the block ends well.

    The contents are on the disk before the name is. When the block raises, ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")  # processes may write the same file
    try:
        yield temporary
        settle(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file atomically, in UTF-8 with the line ends that ``text`` has."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())


def settle(path: Path) -> None:
    """See that a written file is on the disk, and that others may read it as they may any new file of its folder.

    safetensors makes files that only their owner can read, so that programs of another user find nothing.
    """
    usual = path.with_name(f"{path.name}.mode.partial")
    usual.touch()
    path.chmod(usual.stat().st_mode)
    usual.unlink()
    sync(path)


def sync(path: Path) -> None:
    """Wait until a file's contents, or a folder's names, are on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders, and journals their names itself
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
