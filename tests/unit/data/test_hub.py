"""The reading of a table, on a table in memory; with the package, on a data set that it saved."""

from collections.abc import Iterator, Mapping

import pytest

from maquette.data.hub import rows
from maquette.data.sample import Source
from maquette.data.scan import scan
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
