"""What lies in a folder: pictures, caption files, metadata, mask labels, and everything else by name."""

import os
from dataclasses import dataclass
from pathlib import Path

from maquette.data.image import HEIF_SUFFIXES, PICTURE_SUFFIXES
from maquette.errors import DataError

CAPTION_SUFFIXES = (".txt", ".caption")
METADATA_NAMES = ("metadata.jsonl", "metadata.csv")
LABEL_ENDING = "-masklabel"
"""What follows a picture's stem in the name of its mask, as OneTrainer writes it."""

# Left by systems and other trainers; nobody put them there to be learned.
IGNORED_FOLDERS = frozenset({"__macosx", "@eadir", "lost+found"})
IGNORED_FILES = frozenset({"thumbs.db", "desktop.ini"})
IGNORED_SUFFIXES = frozenset({".npz"})
HELD_OUT_SPLITS = frozenset({"test", "validation", "val", "valid", "dev"})


@dataclass(frozen=True, slots=True)
class Listing:
    """The files below a folder, each kind sorted by its path, so that every machine sees the same order.

    skipped: folders that were not entered although they are no litter, with the reason.
    """

    root: Path
    pictures: tuple[Path, ...]
    captions: tuple[Path, ...]
    metadata: tuple[Path, ...]
    labels: tuple[Path, ...]
    unknown: tuple[Path, ...]
    skipped: tuple[str, ...]

    def name(self, path: Path) -> str:
        """The path as messages show it: below the folder, with forward slashes."""
        return path.relative_to(self.root).as_posix()


def list_folder(root: Path, *, leave_out: Path | None = None) -> Listing:
    """Everything below ``root``. Raises DataError where it is no folder that can be read.

    leave_out: a folder that may lie inside and holds something else (masks).
    Dotfiles, system litter and other trainers' caches are ignored. Of the folders train and test (or validation) at
    the top, only train is entered.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"{root}: {what}. Give a folder with pictures.")
    skipped: list[str] = []
    files: list[Path] = []

    def unreadable(error: OSError) -> None:
        raise DataError(f"{error.filename}: the folder cannot be read ({error.strerror}). Allow it, or move it away.")

    # Linked folders are entered too, each real folder once: links may go round in circles.
    left = {root.resolve()} if leave_out is None else {root.resolve(), leave_out.resolve()}
    for place, folders, names in os.walk(root, onerror=unreadable, followlinks=True):
        here = Path(place)
        entered = [name for name in sorted(folders) if not _is_litter(name)]
        if here == root and "train" in entered:
            splits = [name for name in entered if name.lower() in HELD_OUT_SPLITS]
            skipped += [f"{name}/" for name in splits]
            entered = [name for name in entered if name not in splits]
        folders[:] = [name for name in entered if (here / name).resolve() not in left]
        left |= {(here / name).resolve() for name in folders}
        files += [here / name for name in names if not _is_litter(name)]
    files.sort(key=lambda path: path.relative_to(root).as_posix())
    return _sorted_by_kind(root, files, tuple(skipped))


def _sorted_by_kind(root: Path, files: list[Path], skipped: tuple[str, ...]) -> Listing:
    kinds: dict[str, list[Path]] = {"picture": [], "caption": [], "metadata": [], "label": [], "unknown": []}
    for path in files:
        kinds[_kind(path)].append(path)
    return Listing(
        root,
        pictures=tuple(kinds["picture"]),
        captions=tuple(kinds["caption"]),
        metadata=tuple(kinds["metadata"]),
        labels=tuple(kinds["label"]),
        unknown=tuple(kinds["unknown"]),
        skipped=skipped,
    )


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if path.name in METADATA_NAMES:
        return "metadata"
    if suffix in CAPTION_SUFFIXES:
        return "caption"
    if suffix in PICTURE_SUFFIXES or suffix in HEIF_SUFFIXES:
        return "label" if path.stem.endswith(LABEL_ENDING) else "picture"
    return "unknown"


def _is_litter(name: str) -> bool:
    low = name.lower()
    return low.startswith(".") or low in IGNORED_FOLDERS | IGNORED_FILES or Path(low).suffix in IGNORED_SUFFIXES
