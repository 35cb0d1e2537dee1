"""Pictures and captions out of a Hugging Face data set, by name or saved on disk; needs the extra `datasets`."""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from maquette.data.metadata import CAPTION_COLUMNS
from maquette.data.sample import Finding
from maquette.errors import DataError, MissingDependencyError

DEFAULT_SPLIT = "train"

FORMATS = frozenset({"imagefolder", "parquet", "arrow", "json", "csv", "webdataset"})
"""Names that ``datasets.load_dataset`` takes for formats, and then reads whatever the working directory holds."""


class Table(Protocol):
    """What is needed of ``datasets.Dataset``: its columns, and rows whose pictures are {"bytes": ..., "path": ...}."""

    @property
    def features(self) -> Mapping[str, object]:
        """Column name -> its type."""
        ...

    def cast_column(self, column: str, feature: object, /) -> "Table":
        """The same table with another type for a column."""
        ...

    def __iter__(self) -> Iterator[Mapping[str, object]]: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One picture of a data set: how messages call it, its encoded bytes, its caption if there is one."""

    name: str
    data: bytes
    caption: str | None


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by ``save_to_disk``."""
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def load(name: str, config: str | None, split: str | None) -> Table:
    """A data set, its pictures left encoded so that every damaged one can be named.

    name: a folder that holds a saved data set, a folder of pictures or of parquet files, a parquet file, or a name on
    the hub, from which it is downloaded. Raises MissingDependencyError without the package, DataError where there is no
    such data set or split.
    """
    if name in FORMATS:
        raise DataError(f'data.dataset = "{name}" is a format, not a data set: give the folder or file that is in it.')
    try:
        datasets = importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        cure = "pip install 'maquette[datasets]', or save its pictures into a folder."
        raise MissingDependencyError(f'Reading the data set "{name}" needs the package datasets: {cure}') from error
    try:
        if is_saved(Path(name)):
            saved = datasets.load_from_disk(name)
            if split is not None and not isinstance(saved, dict):
                raise DataError(f'data.split = "{split}", but "{name}" was saved without splits; remove data.split.')
            loaded = _one_split(saved, name, split) if isinstance(saved, dict) else saved
        elif Path(name).is_file() and name.endswith(".parquet"):
            loaded = datasets.load_dataset("parquet", data_files=name, split=split or DEFAULT_SPLIT)
        else:
            loaded = datasets.load_dataset(name, config, split=split or DEFAULT_SPLIT)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        cure = "Give a folder, a parquet file, or the name of a data set on the hub, which must be in reach once."
        raise DataError(f'data.dataset = "{name}" cannot be read: {str(error).rstrip(".")}. {cure}') from error
    for column, feature in loaded.features.items():
        if isinstance(feature, datasets.Image):
            loaded = loaded.cast_column(column, datasets.Image(decode=False))
    return loaded


def _one_split(splits: Mapping[str, Table], name: str, split: str | None) -> Table:
    """The wanted split of a data set that was saved with several, or the only one, or train."""
    wanted = split or (next(iter(splits)) if len(splits) == 1 else DEFAULT_SPLIT)
    if wanted not in splits:
        raise DataError(f'"{name}" has no split "{wanted}"; it has {", ".join(splits)}. Choose one as data.split.')
    return splits[wanted]


def rows(table: Table, image_column: str | None, caption_column: str | None) -> tuple[list[Row], list[Finding]]:
    """All pictures of a table with their captions, and which rows have none.

    image_column: None takes the one column of pictures there is. caption_column: None takes the first of text, caption
    and prompt. Raises DataError where a column does not exist or the choice is not clear.
    """
    features = table.features
    pictures = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    image = image_column or (pictures[0] if len(pictures) == 1 else None)
    if image is None or image not in features:
        wrong = f'has no column "{image_column}"' if image_column else "has not exactly one column of pictures"
        raise DataError(f"The data set {wrong}; it has {', '.join(features)}. Name it as data.image_column.")
    caption = caption_column or next((name for name in CAPTION_COLUMNS if name in features), None)
    if caption_column is not None and caption_column not in features:
        raise DataError(f'The data set has no column "{caption_column}"; it has {", ".join(features)}.')
    found, empty = [], []
    for number, row in enumerate(table):
        name, data, text = f"row {number}", _bytes(row[image]), row[caption] if caption else None
        if data is None:
            empty.append(name)
        else:
            found.append(Row(name, data, " ".join(text.split()) if isinstance(text, str) else None))
    message = f"Rows of the data set have no picture under {image}; remove them:"
    return found, [Finding("error", "unreadable", message, tuple(empty))] if empty else []


def _bytes(cell: object) -> bytes | None:
    """The encoded picture of a cell: its own bytes, or those of the file it names."""
    if not isinstance(cell, Mapping):
        return None
    if isinstance(cell.get("bytes"), bytes):
        return cell["bytes"]
    path = cell.get("path")
    return Path(path).read_bytes() if isinstance(path, str) and Path(path).is_file() else None
