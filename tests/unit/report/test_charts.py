"""Charts: well-formed, to scale, honest about what they leave out."""

import math
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.report.charts import Series, label, line_chart, nice_ticks, short, thinned, value_range

SVG = "{http://www.w3.org/2000/svg}"
SIZE = (300, 700)


def draw(*series: Series, x_end: float = 100) -> ET.Element:
    return ET.fromstring(line_chart("A <title> & more", series, x_end=x_end, size=SIZE))


def points(path: ET.Element) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split())) for pair in re.split("[ML]", path.attrib["d"])[1:]]


def test_values_lie_where_the_axis_says_they_do():
    chart = draw(Series("loss", [0, 50, 100], [0, 0.5, 1.0]))
    ticks = [t for t in chart.iter(f"{SVG}text") if t.get("class") == "tick"]
    height_of = {t.text: float(t.attrib["y"]) - 4 for t in ticks if t.get("text-anchor") == "end"}
    place_of = {t.text: float(t.attrib["x"]) for t in ticks if t.get("text-anchor") == "middle"}
    (path,) = chart.iter(f"{SVG}path")
    drawn = points(path)
    # Coordinates are written with one decimal.
    assert drawn[0] == pytest.approx((place_of["0"], height_of["0"]), abs=0.11)
    assert drawn[2] == pytest.approx((place_of["100"], height_of["1.0"]), abs=0.11)
    assert drawn[1] == pytest.approx(((drawn[0][0] + drawn[2][0]) / 2, (drawn[0][1] + drawn[2][1]) / 2), abs=0.11)


def test_everything_lies_inside_the_picture():
    chart = draw(
        Series("each reading", range(100), [1 / (i + 1) for i in range(100)], "cloud"),
        Series("smoothed", range(100), [0.5] * 100),
    )
    for path in chart.iter(f"{SVG}path"):
        assert all(0 <= x <= SIZE[1] and 0 <= y <= SIZE[0] for x, y in points(path))
    for text in chart.iter(f"{SVG}text"):
        assert 0 <= float(text.attrib["x"]) <= SIZE[1]
        assert 0 <= float(text.attrib["y"]) <= SIZE[0]


def test_an_unfinished_run_leaves_room_for_the_rest():
    whole = points(next(draw(Series("loss", [0, 100], [1, 1]), x_end=100).iter(f"{SVG}path")))
    half = points(next(draw(Series("loss", [0, 100], [1, 1]), x_end=200).iter(f"{SVG}path")))
    width = whole[1][0] - whole[0][0]
    assert half[1][0] - half[0][0] == pytest.approx(width / 2, abs=0.2)


def test_text_is_escaped_and_the_numbers_are_told_in_words():
    chart = draw(Series("a <b> & c", [1, 2], [3.0, 4.0]), Series("other", [1, 2], [3.5, 3.6]))
    assert chart.find(f"{SVG}title").text == "A <title> & more"
    assert "a <b> & c: from 3 at 1 to 4 at 2, lowest 3, highest 4." in chart.find(f"{SVG}desc").text
    assert "a <b> & c" in [text.text for text in chart.iter(f"{SVG}text")]


def test_lines_are_told_apart_by_more_than_colour():
    chart = draw(*[Series(f"group {i}", [0, 1], [i, i + 1]) for i in range(3)])
    assert [path.get("class") for path in chart.iter(f"{SVG}path")] == ["line line-1", "line line-2", "line line-3"]


def test_readings_that_are_no_numbers_are_left_out():
    chart = draw(Series("loss", [1, 2, 3, 4], [1.0, math.nan, math.inf, 2.0]))
    (path,) = chart.iter(f"{SVG}path")
    assert len(points(path)) == 2
    assert line_chart("t", [Series("loss", [1], [math.nan])], x_end=1, size=SIZE) == ""
    assert line_chart("t", [], x_end=1, size=SIZE) == ""


def test_one_reading_is_a_dot():
    chart = draw(Series("loss", [7], [0.25]))
    assert len(list(chart.iter(f"{SVG}circle"))) == 1
    assert not list(chart.iter(f"{SVG}path"))


def test_an_outlier_of_a_cloud_does_not_stretch_the_axis_and_is_not_hidden():
    raw = Series("each reading", range(100), [1.0] * 99 + [1000.0], "cloud")
    assert value_range([raw])[1] == 1.0
    assert value_range([Series("line", raw.x, raw.y)])[1] == 1000.0
    assert "1 of 100 readings lie beyond the axis" in draw(raw).find(f"{SVG}desc").text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.9, 1.0], (0.9, 1.0)),
        ([0.1, 1.0], (0.0, 1.0)),
        ([2.0], (0.0, 2.0)),
        ([0.0], (-1.0, 1.0)),
        ([-2.0], (-3.0, -1.0)),
    ],
)
def test_the_range_reaches_zero_where_that_is_cheap_and_is_never_empty(values, expected):
    assert value_range([Series("s", range(len(values)), values)]) == expected


@settings(derandomize=True, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e6), st.integers(2, 10))
def test_ticks_are_round_evenly_spaced_and_cover_the_range(low, span, about):
    high = low + span
    if high - low < 1e-9 * max(abs(low), abs(high)):  # nothing that floats could tell apart on an axis
        return
    ticks = nice_ticks(low, high, about)
    step = ticks[1] - ticks[0]
    slack = 1e-6 * step + 1e-9 * max(abs(low), abs(high))
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert len(ticks) <= about + 3
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-6)
    assert min(abs(mantissa - nice) for nice in (1, 2, 5, 10)) < 1e-3


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([0, 5e-5, 1e-4], ["0", "5e-5", "1e-4"]),
        ([0.12, 0.14], ["0.12", "0.14"]),
        ([0, 0.5, 1.0], ["0", "0.5", "1.0"]),
        ([0, 500, 1000], ["0", "500", "1000"]),
        ([0, 2e6], ["0", "2e6"]),
    ],
)
def test_labels_have_the_digits_they_need(ticks, labels):
    assert [label(tick, ticks) for tick in ticks] == labels


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.08314, "0.0831"), (1e-4, "1e-4"), (1500.4, "1500"), (0, "0"), (-0.5, "-0.5"), (2.5e6, "2.5e6")],
)
def test_numbers_are_short(value, text):
    assert short(value) == text


def test_thinning_keeps_the_ends_and_every_peak():
    y = [math.sin(i / 9) + (5 if i == 777 else 0) for i in range(2000)]
    kept = thinned(Series("s", range(2000), y), 200)
    assert len(kept.x) <= 202
    assert (kept.x[0], kept.x[-1]) == (0, 1999)
    assert max(kept.y) == max(y)
    assert min(kept.y) == min(y)
    assert list(kept.x) == sorted(set(kept.x))
