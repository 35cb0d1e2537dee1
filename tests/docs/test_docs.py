"""What the documentation says is true: examples run, the picture names what exists, links lead somewhere."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_a_page_run(page: Path) -> None:
    failed, _ = doctest.testfile(str(page), module_relative=False)
    assert failed == 0


def test_the_picture_of_the_data_flow_names_what_exists() -> None:
    picture = re.search(r"```mermaid\n(.*?)```", (ROOT / "docs/architecture.md").read_text(), re.DOTALL)
    assert picture is not None
    packages = "|".join(path.name for path in (ROOT / "src/maquette").iterdir() if path.is_dir())
    names = re.findall(rf"\b(?:{packages})(?:\.\w+)+", picture[1])
    assert len(names) > 10
    missing = [name for name in names if not _exists(name)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def _exists(name: str) -> bool:
    """Whether ``a.b.c`` is a module of the package, or a member of one."""
    module, _, member = f"maquette.{name}".rpartition(".")
    for whole, part in ((f"{module}.{member}", None), (module, member)):
        try:
            found = importlib.import_module(whole)
        except ModuleNotFoundError:
            continue
        return part is None or hasattr(found, part)
    return False
