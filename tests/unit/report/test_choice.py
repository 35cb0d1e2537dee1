"""What the report and the card say of the choice of a checkpoint: words, curves with intervals, the Pareto plot."""

import re
from xml.etree import ElementTree as ET

import pytest
from tests.unit.report.sample_run import write_run
from tests.unit.report.scored_run import ASKED, FOLLOWED, LIKE, NEUTRAL, write_scored_run
from tests.unit.report.test_page import page_of

from maquette.errors import DataError
from maquette.report.card import write_card
from maquette.report.charts import Series, line_chart
from maquette.report.choice import choice_of
from maquette.report.pareto import Point, front, pareto_of, points_of, ticks_inside
from maquette.report.read import read_facts
from maquette.runs.best import Best, read_best, write_best

SVG = "{http://www.w3.org/2000/svg}"


def test_the_page_says_which_checkpoint_to_use_and_why(tmp_path):
    page = page_of(write_scored_run(tmp_path / "mug"))
    for words in [
        "Use the checkpoint of step 20",
        "Its balance of 0.71 is the highest of 3 checkpoints.",
        "It overfits after step 20",
        "--adapter mug/best",
        "What lies in export/ is step 40",
        "the earliest checkpoint of all <rules>.",
        "step 20, best",
        "Read by judge; shaded: 95 % interval over pictures.",
        *("Subject fidelity", "Prompt fidelity", "Diversity", "Likeness against prompts"),
    ]:
        assert words in page.text, words


def test_the_card_says_it_too_and_shows_no_picture_of_the_class_alone(tmp_path):
    run = write_scored_run(tmp_path / "mug")
    write_card(run)
    card = run.card.read_text(encoding="utf-8")
    assert "**Checkpoint:** Use the checkpoint of step 20" in card
    assert ASKED[0] in card
    assert NEUTRAL not in card


def test_scored_pictures_are_in_the_grid_with_their_scores(tmp_path):
    pictures = page_of(write_scored_run(tmp_path / "mug")).of("img")
    told = {(p["data-prompt"], p["data-where"]): p.get("data-scores") for p in pictures if "data-where" in p}
    assert told[ASKED[0], "step 20 · seed 1"] == "subject fidelity 0.61\nprompt fidelity 0.55\ndiversity 0.40"
    assert told[NEUTRAL, "step 40 · seed 0"] == "prompt fidelity 0.60\ndrift from the base 0.40"


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["evaluation.every=0"], "Scores were turned off (evaluation.every = 0)"),
        (["model.base=some/base"], "Pictures of some/base were not scored"),
        ([], "Nothing has been compared yet."),
    ],
)
def test_where_nothing_was_chosen_the_page_says_why(sets, words, tmp_path):
    run = write_run(tmp_path / "mug", *sets)
    assert words in " ".join(choice_of(read_facts(run)).sentences)
    assert "No checkpoint was chosen." in page_of(run).text
    write_card(run)
    assert "Checkpoint:" not in run.card.read_text(encoding="utf-8")


def test_the_last_checkpoint_may_be_the_best_and_a_whole_model_is_a_base(tmp_path):
    run = write_scored_run(tmp_path / "mug")
    write_best(run.best, Best(step=40, after=40, by="scores", rule="A rule.", reason="A reason."))
    assert choice_of(read_facts(run)).headline == "Use the last checkpoint, step 40: it is the best."
    whole = write_scored_run(tmp_path / "whole", "adapter.kind=full")
    assert "--base whole/best/model" in " ".join(choice_of(read_facts(whole)).sentences)


def test_a_damaged_choice_is_told_and_the_rest_is_shown(tmp_path):
    run = write_scored_run(tmp_path / "mug")
    (run.best / "best.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"best\.json: is damaged"):
        read_best(run)
    assert "is damaged" in page_of(run).text


def test_every_point_lies_where_its_scores_say(tmp_path):
    chart = pareto_of(read_facts(write_scored_run(tmp_path / "mug")))
    assert chart is not None
    for drawing in (chart.large, chart.small):
        svg = ET.fromstring(drawing)
        width, height = map(float, svg.attrib["viewBox"].split()[2:])
        circles = [(float(c.attrib["cx"]), float(c.attrib["cy"]), c.attrib["class"]) for c in svg.iter(f"{SVG}circle")]
        assert [kind for *_, kind in circles] == ["base", "point", "chosen", "point"]
        assert all(0 < x < width and 0 < y < height for x, y, _ in circles)
        # Along each axis the distances of points are those of their scores.
        steps = list(LIKE)
        across = (circles[3][0] - circles[0][0]) / (FOLLOWED[40] - FOLLOWED[0])
        up = (circles[3][1] - circles[0][1]) / (LIKE[40] - LIKE[0])
        assert across > 0 > up
        for (x, y, _), step in zip(circles, steps, strict=True):
            assert x - circles[0][0] == pytest.approx(across * (FOLLOWED[step] - FOLLOWED[0]), abs=0.2)
            assert y - circles[0][1] == pytest.approx(up * (LIKE[step] - LIKE[0]), abs=0.2)
        told = svg.find(f"{SVG}desc").text
        assert "Step 20: subject fidelity 0.60, prompt fidelity 0.55, on the front, chosen." in told


def test_the_front_is_what_nobody_surpasses():
    def at(step: int, x: float, y: float) -> Point:
        return Point(step, x, y, (x, x), (y, y))

    points = [at(0, 0.6, 0.1), at(1, 0.5, 0.5), at(2, 0.4, 0.4), at(3, 0.2, 0.7), at(4, 0.2, 0.6), at(5, 0.6, 0.1)]
    assert [point.step for point in front(points)] == [3, 1, 0, 5]


def test_points_are_steps_where_both_were_measured():
    like = Series("subject fidelity", [0, 10, 20], [0.1, 0.2, 0.3], "marks", [0.0, 0.1, 0.2], [0.2, 0.3, 0.4])
    prompt = Series("prompt fidelity", [0, 20], [0.5, float("nan")], "marks")
    assert points_of(like, prompt, 0) == [Point(0, 0.5, 0.1, (0.5, 0.5), (0.0, 0.2), is_best=True)]


def test_intervals_are_drawn_to_scale_and_inside():
    series = Series("a score", [0, 50, 100], [0.5, 0.6, 0.7], "marks", [0.4, 0.5, 0.2], [0.6, 0.7, 0.9])
    chart = ET.fromstring(line_chart("A score", [series], x_end=100, size=(300, 700)))
    (band,) = chart.iter(f"{SVG}polygon")
    corners = [tuple(map(float, pair.split(","))) for pair in band.attrib["points"].split()]
    assert len(corners) == 6
    assert all(0 <= x <= 700 and 0 <= y <= 300 for x, y in corners)
    line = [tuple(map(float, p.split())) for p in re.split("[ML]", next(chart.iter(f"{SVG}path")).attrib["d"])[1:]]
    scale = (line[2][1] - line[0][1]) / 0.2
    assert corners[2][1] - line[2][1] == pytest.approx(0.2 * scale, abs=0.2)
    assert corners[3][1] - line[2][1] == pytest.approx(-0.5 * scale, abs=0.2)
    (bar,) = (e for e in ET.fromstring(one_reading()).iter(f"{SVG}line") if e.get("class") == "interval")
    assert float(bar.attrib["y1"]) > float(bar.attrib["y2"])


def one_reading() -> str:
    return line_chart("One", [Series("one", [5], [0.5], "marks", [0.4], [0.7])], x_end=10, size=(300, 700))


@pytest.mark.parametrize(("low", "high"), [(0.62, 0.79), (0.501, 0.999), (-0.3, -0.26), (0.1, 0.9)])
@pytest.mark.parametrize("about", [2, 3, 5])
def test_an_axis_has_two_numbers_however_its_range_lies(low, high, about):
    ticks = ticks_inside(low, high, about)
    assert len(ticks) >= 2
    assert all(low <= tick <= high for tick in ticks)
