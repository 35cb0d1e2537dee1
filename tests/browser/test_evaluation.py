"""The page of scores in a real browser: opened from a file, without network, with a mouse and with a finger."""

from pathlib import Path

import pytest
from tests.browser.test_report import DESKTOP, PHONE, is_wider_than_its_window, visit
from tests.unit.report.test_evaluation import comparison, sweep

from maquette.report.evaluation import write_page

__all__ = ["visit"]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both pages under the name that the visit allows a request for."""
    root = tmp_path_factory.mktemp("pages")
    found = {}
    for name, make in (("comparison", comparison), ("sweep", sweep)):
        folder = root / name / "mug"
        folder.mkdir(parents=True)
        found[name] = write_page(folder, make(folder)).rename(folder / "report.html")
    return found


@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["comparison", "sweep"])
def test_it_opens_by_itself_and_fits(visit, pages, name, window):
    page = visit(pages[name], **window)
    assert not is_wider_than_its_window(page)
    assert page.evaluate("[...document.images].filter((i) => i.currentSrc).every((i) => i.naturalWidth > 0)")
    assert page.locator(".chart:visible").count() > 0


def test_a_mouse_that_rests_on_a_picture_shows_its_scores(visit, pages):
    page = visit(pages["comparison"], **DESKTOP)
    button, lens = page.locator(".grid button").nth(1), page.locator(".lens")
    button.scroll_into_view_if_needed()
    page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")  # the scroll is over
    button.hover()
    lens.wait_for(state="visible")
    assert lens.locator(".where").inner_text() == "two · seed 0"
    assert lens.locator(".scores").inner_text() == "subject fidelity 0.7\nface distance –"


def test_a_finger_that_taps_a_picture_shows_its_scores(visit, pages):
    page = visit(pages["comparison"], **PHONE)
    page.locator(".grid button").first.tap()
    dialog = page.locator("dialog")
    assert dialog.locator(".words").inner_text() == "a sks mug on the beach"
    assert "subject fidelity 0.5" in dialog.locator(".scores").inner_text()
    box = dialog.locator("img").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


def test_it_is_whole_without_script(visit, pages):
    page = visit(pages["sweep"], **DESKTOP, java_script_enabled=False)
    assert page.locator(".grid img").count() == 3 * 4
    assert not page.locator("dialog").is_visible()
