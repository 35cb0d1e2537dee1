"""Results that grow line by line: one JSON object each, so that a benchmark that was interrupted goes on."""

import json
import os
from pathlib import Path


def read_lines(file: Path) -> list[dict]:
    """What has been measured so far; a line that was cut off does not count."""
    lines = file.read_text(encoding="utf-8").split("\n") if file.is_file() else []
    return [row for line in lines if (row := _whole(line)) is not None]


def add_line(file: Path, row: dict) -> None:
    """Add a line in one write, so that several processes may; it is on the disk before this returns."""
    with file.open("a+b", buffering=0) as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - 1))
        is_cut = opened.read(1) not in (b"", b"\n")
        opened.write((b"\n" if is_cut else b"") + (json.dumps(row) + "\n").encode())
        os.fsync(opened.fileno())


def _whole(line: str) -> dict | None:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None
