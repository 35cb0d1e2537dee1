"""The report in a real browser: opened from a file, without network, with a mouse, a keyboard and a finger."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.report.sample_run import PROMPTS, write_run
from tests.unit.report.scored_run import ASKED, write_scored_run

from maquette.report.html import write_report

pytestmark = pytest.mark.browser

DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
WORDS = "a prompt with averyveryverylongwordthatnobrowsercanbreakanywhere" * 3


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("runs") / "mug", prompts=[*PROMPTS, WORDS], seeds=(0, 1))
    return write_report(run)


@pytest.fixture
def visit(chromium: object) -> Iterator[Callable]:
    """Open a file in a window; afterwards, fail on anything in the console and on any request but the file itself."""
    contexts, heard, asked = [], [], []

    def opened(file: Path, **window: object) -> object:
        context = chromium.new_context(**window)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert heard == []
    assert [url for url in asked if not url.startswith("data:") and not url.endswith("/mug/report.html")] == []


def is_wider_than_its_window(page: object) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_opens_by_itself_and_fits(visit, report, window, scheme):
    page = visit(report, **window, color_scheme=scheme)
    assert page.title() == "mug · training report"
    assert not is_wider_than_its_window(page)
    page.locator("summary").click()
    assert not is_wider_than_its_window(page)
    assert page.evaluate("[...document.images].filter((i) => i.currentSrc).every((i) => i.naturalWidth > 0)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(visit, report, scheme):
    page = visit(report, **DESKTOP, color_scheme=scheme)
    colours = page.evaluate(
        """() => [
            ...document.querySelectorAll("body, .aside, .lead, .numbers dt, .file, .settings dt, pre, .chart text")
        ].map((e) => {
                const style = getComputedStyle(e);
                const paper = [e, ...parents(e)].map((x) => getComputedStyle(x).backgroundColor)
                    .find((colour) => colour !== "rgba(0, 0, 0, 0)");
                return [e.closest("svg") ? style.fill : style.color, paper];
                function parents(x) { return x.parentElement ? [x.parentElement, ...parents(x.parentElement)] : []; }
            })"""
    )
    assert len(colours) > 50
    # Source: WCAG 2.2, success criterion 1.4.3, for text of ordinary size.
    assert min(contrast(*pair) for pair in colours) >= 4.5


def contrast(*colours: str) -> float:
    """WCAG's ratio of two colours as getComputedStyle writes them."""

    def luminance(colour: str) -> float:
        channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted(map(luminance, colours))
    return (lighter + 0.05) / (darker + 0.05)


def test_a_click_enlarges_and_the_keyboard_walks_the_grid(visit, report):
    page = visit(report, **DESKTOP)
    pictures, dialog = page.locator(".grid button"), page.locator("dialog")
    small = pictures.nth(1).bounding_box()["width"]
    pictures.nth(1).click()
    assert dialog.locator(".words").inner_text() == PROMPTS[0]
    assert dialog.locator(".where").inner_text() == "step 20 · seed 0"
    assert dialog.locator("img").bounding_box()["width"] > 2 * small
    where = []
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
        where.append(dialog.locator(".where").inner_text())
    # Above the first row there is nothing, so the last key changes nothing.
    assert where == ["step 40 · seed 0", "step 40 · seed 1", "step 20 · seed 1", "step 20 · seed 0", "step 20 · seed 0"]
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_a_finger_enlarges_and_closes(visit, report):
    page = visit(report, **PHONE)
    page.locator(".grid button").last.tap()
    box = page.locator("dialog img").bounding_box()
    assert box["width"] > 300
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.get_by_role("button", name="Close").tap()
    assert not page.locator("dialog").is_visible()


def test_a_mouse_that_rests_enlarges_inside_the_window(visit, report):
    page = visit(report, **DESKTOP)
    for index in (0, 2):
        button, lens = page.locator(".grid button").nth(index), page.locator(".lens")
        button.scroll_into_view_if_needed()
        page.evaluate(
            "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"
        )  # the scroll is over
        button.hover()
        lens.wait_for(state="visible")
        box = lens.bounding_box()
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= 1280
        assert box["y"] + box["height"] <= 900
        page.mouse.move(2, 2)
        lens.wait_for(state="hidden")


def test_on_a_phone_the_base_stays_beside_the_last_step(visit, tmp_path):
    run = write_run(tmp_path / "mug")
    page = visit(write_report(run), **PHONE)
    grid = page.locator(".scroller")
    assert grid.evaluate("(box) => box.scrollWidth > box.clientWidth")
    for place in ("box.scrollWidth", "0"):
        grid.evaluate(f"(box) => {{ box.scrollLeft = {place}; }}")
        base = page.locator(".grid tbody td").first.bounding_box()
        assert 0 <= base["x"] <= 30
    assert page.locator(".grid thead th").first.inner_text() == "base"


def test_it_is_whole_without_script(visit, report):
    page = visit(report, **DESKTOP, java_script_enabled=False)
    assert page.locator(".grid img").count() == 3 * 2 * 3
    assert not page.locator(".with-script").is_visible()
    assert not page.locator("dialog").is_visible()
    assert not page.locator(".lens").is_visible()


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write_scored_run(tmp_path_factory.mktemp("runs") / "mug"))


SHOWN = "subject fidelity 0.61\nprompt fidelity 0.55\ndiversity 0.40"


def of_step_20(page: object) -> object:
    """The second picture of the first scored prompt at step 20."""
    return page.locator(f'.grid img[data-prompt="{ASKED[0]}"][data-where="step 20 · seed 1"]')


def test_a_mouse_that_rests_on_a_picture_shows_its_scores(visit, scored):
    page = visit(scored, **DESKTOP)
    of_step_20(page).scroll_into_view_if_needed()
    page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")
    of_step_20(page).hover()
    page.locator(".lens").wait_for(state="visible")
    assert page.locator(".lens .scores").inner_text() == SHOWN


def test_a_finger_on_a_picture_shows_its_scores(visit, scored):
    page = visit(scored, **PHONE)
    of_step_20(page).tap()
    assert page.locator("dialog .scores").inner_text() == SHOWN


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_choice_and_its_plot_fit_and_can_be_read(visit, scored, window, scheme):
    page = visit(scored, **window, color_scheme=scheme)
    assert not is_wider_than_its_window(page)
    plot = page.locator("#best svg.pareto >> visible=true")
    assert plot.count() == 1
    box = plot.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= window["viewport"]["width"]
    assert box["width"] > 250
    sizes = plot.locator("text").evaluate_all("(all) => all.map((text) => text.getBoundingClientRect().height)")
    assert min(sizes) >= 10  # pixels: text that is drawn small is not read
    colours = plot.locator("text").evaluate_all(
        "(all) => all.map((text) => [getComputedStyle(text).fill, getComputedStyle(document.body).backgroundColor])"
    )
    assert min(contrast(*pair) for pair in colours) >= 4.5
