"""A family as a diffusers folder on disk."""

import shutil
from pathlib import Path

from maquette.families.base import Family
from maquette.families.quiet import without_bars
from maquette.runs.files import settle, sync


def save_folder(family: Family, target: Path) -> None:
    """Write a family as diffusers does, whole or not at all; it takes the place of what ``target`` was."""
    temporary = target.with_name(f".{target.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with without_bars():
            family.pipeline().save_pretrained(temporary, safe_serialization=True)
        for path in temporary.rglob("*"):
            if path.is_file():
                settle(path)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
