"""Which class images there are: those that training learns from, counted before any is made."""

from pathlib import Path

import pytest
from PIL import Image
from tests.contract import tiny
from tests.learning.small import paint

from maquette.config.load import load_config
from maquette.config.schema import RunConfig
from maquette.data.gather import class_sources
from maquette.data.scan import scan
from maquette.errors import DataError
from maquette.generation.class_images import check_classes, complete_classes


@pytest.fixture
def dogs(tmp_path: Path) -> Path:
    """Three pictures of a rare kind at the top, and three in a folder below."""
    folder = paint(tmp_path / "dogs" / "more").parent
    for number in range(3):
        Image.new("RGB", (24, 24), (80 * number, 0, 0)).save(folder / f"{number}.gif")
    return folder


def asked(folder: Path | None, count: int, *sets: str) -> RunConfig:
    return load_config(flags={"SOURCE": folder}, sets=[f"class_images.count={count}", *sets])


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_pictures_that_are_learned_from_are_not_made_again(dogs, tmp_path):
    config, there = asked(dogs, 6, f"class_images.folder={dogs}", "class_images.prompt=a dog"), tree(dogs)
    [source] = class_sources(config)
    assert len(scan(source).usable()) == 6
    told = []
    folders = complete_classes(config, tiny.sd1(), tmp_path, [(24, 24)], lambda *made: told.append(made))
    assert (folders, told, tree(dogs)) == ([dogs], [], there)


def test_pictures_below_a_folder_are_enough_where_none_can_be_made(dogs, tmp_path):
    concepts = f'concepts=[{{folder="{dogs}", prompt="a sks dog", class_folder="{dogs}"}}]'
    check_classes(asked(None, 6, concepts), tmp_path)
    with pytest.raises(DataError, match="has 6 pictures and there is no"):
        check_classes(asked(None, 7, concepts), tmp_path)
