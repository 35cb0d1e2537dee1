"""The reading of a table, on a table in memory; with the package, on a data set that it saved."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from maquette.data.hub import rows
from maquette.data.sample import Source
from maquette.data.scan import scan, scan_dataset
from maquette.errors import DataError


class Image:
    """Stands for ``datasets.Image``, which is told by its name."""


class Table:
    def __init__(self, features: Mapping[str, object], cells: list[dict[str, object]]) -> None:
        self.features, self.cells = features, cells

    def cast_column(self, column: str, feature: object, /) -> "Table":
        return Table({**self.features, column: feature}, self.cells)

    def __iter__(self) -> Iterator[Mapping[str, object]]:
        return iter(self.cells)


def test_the_only_picture_column_and_the_first_caption_column(paint):
    data = paint("a.png").read_bytes()
    stored = str(paint("b.png", seed=1))
    cells = [
        {"image": {"bytes": data, "path": None}, "text": " a  dog ", "prompt": "no"},
        {"image": {"bytes": None, "path": stored}, "text": None, "prompt": "no"},
        {"image": None, "text": "nothing", "prompt": "no"},
    ]
    found, findings = rows(Table({"image": Image(), "prompt": "", "text": ""}, cells), None, None)
    assert [(row.name, row.caption) for row in found] == [("row 0", "a dog"), ("row 1", None)]
    assert found[0].data == data
    assert found[1].data == paint("b.png", seed=1).read_bytes()
    assert [finding.names for finding in findings] == [("row 2",)]


@pytest.mark.parametrize(
    ("features", "image", "caption", "message"),
    [
        ({"a": Image(), "b": Image()}, None, None, "not exactly one column of pictures; it has a, b"),
        ({"a": Image()}, "c", None, 'no column "c"; it has a'),
        ({"a": Image()}, None, "text", 'no column "text"; it has a'),
    ],
)
def test_columns_that_are_unclear_or_missing(features, image, caption, message):
    with pytest.raises(DataError, match=message):
        rows(Table(features, []), image, caption)


def test_a_saved_data_set_is_read_like_a_folder(tmp_path, paint):
    datasets = pytest.importorskip("datasets", reason="the extra datasets is not installed")
    pictures = [str(paint(f"{i}.png", seed=i)) for i in range(3)]
    table = datasets.Dataset.from_dict({"image": pictures, "text": ["a", "b", "c"]})
    table.cast_column("image", datasets.Image()).save_to_disk(tmp_path / "saved")
    found = scan(Source(tmp_path / "saved"))
    assert [sample.caption for sample in found.usable()] == ["a", "b", "c"]
    assert [sample.read() for sample in found.samples] == [paint(f"{i}.png", seed=i).read_bytes() for i in range(3)]


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    package = pytest.importorskip("datasets", reason="the extra datasets is not installed")
    monkeypatch.setattr(package.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return package


def test_folders_files_and_splits_of_the_package_are_read(datasets, tmp_path, paint):
    (tmp_path / "folder").mkdir()
    lines = []
    for i, text in enumerate("abc"):
        paint(f"{i}.png", seed=i).rename(tmp_path / "folder" / f"{i}.png")
        lines.append(f'{{"file_name": "{i}.png", "text": "{text}"}}')
    (tmp_path / "folder" / "metadata.jsonl").write_text("\n".join(lines))
    pictures = [str(tmp_path / "folder" / f"{i}.png") for i in range(3)]
    table = datasets.Dataset.from_dict({"image": pictures, "text": ["a", "b", "c"]}).cast_column(
        "image", datasets.Image()
    )
    (tmp_path / "parquet").mkdir()
    table.to_parquet(tmp_path / "parquet" / "train.parquet")
    datasets.DatasetDict({"train": table, "test": table.select([2])}).save_to_disk(tmp_path / "splits")

    def captions(name: str, split: str | None = None) -> list[str]:
        return [s.caption for s in scan_dataset(Source(Path(name)), str(tmp_path / name), split=split).usable()]

    for name in ("folder", "parquet", "parquet/train.parquet", "splits"):
        assert captions(name) == ["a", "b", "c"]
    assert captions("parquet", "train[1:]") == ["b", "c"]
    assert captions("splits", "test") == ["c"]
    for name, split, message in [
        ("splits", "nope", "no split .nope.; it has train, test"),
        ("folder", "nope", "cannot be read: Unknown split"),
        ("nowhere", None, "cannot be read.*Give a folder, a parquet file, or the name"),
    ]:
        with pytest.raises(DataError, match=message):
            captions(name, split)


def test_the_name_of_a_format_is_not_the_working_directory():
    with pytest.raises(DataError, match=r'"imagefolder" is a format, not a data set: give the folder'):
        scan_dataset(Source(Path("x")), "imagefolder")
