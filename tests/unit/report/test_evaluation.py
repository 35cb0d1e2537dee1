"""The page of scores: every number and picture of them, by itself, without anybody's paths."""

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

from tests.unit.report.sample_run import picture
from tests.unit.report.test_page import Page

from maquette.report.evaluation import write_page
from maquette.report.intervals import Bar, interval_chart
from maquette.report.scored import in_words
from maquette.runs.scores import Difference, Evaluation, Measured, Scores, Shot, StrengthRange

TEXTS = ("a [subject] on the beach", "an <b>ink</b> sketch of [subject]")


def evaluation(
    folder: Path, name: str, value: float, key: int, *, seeds: int = 2, strength: float | None = None
) -> Evaluation:
    shots = []
    for i, text in enumerate(TEXTS):
        for seed in range(seeds):
            file = folder / name / f"{i}-{seed}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(key + 10 * i + seed).save(file)
            prompt = text.replace("[subject]", "sks mug")
            scores = {"subject_fidelity": value, "face_distance": math.nan}
            shots.append(Shot(f"{name}/{i}-{seed}.png", text, prompt, prompt, seed, "mug", scores))
    scores = (
        Measured("subject_fidelity", value, value - 0.1, value + 0.1, "higher", 4, "judge"),
        Measured("face_distance", math.nan, math.nan, math.nan, None, 0, "", ("face_distance: no face.",)),
    )
    return Evaluation(name, scores, tuple(shots), strength)


def comparison(folder: Path, *, seeds: int = 2) -> Scores:
    return Scores(
        "world",
        "A subject & its places.",
        ("judge",),
        (evaluation(folder, "one", 0.5, 0, seeds=seeds), evaluation(folder, "two", 0.7, 500, seeds=seeds)),
        (
            Difference("two", "one", "subject_fidelity", 0.2, 0.15, 0.25, "better", is_paired=True),
            Difference("two", "one", "face_distance", math.nan, math.nan, math.nan, "no score", is_paired=False),
        ),
        warnings=("face_distance: no face.",),
    )


def sweep(folder: Path) -> Scores:
    ordered = [evaluation(folder, f"strength {s:g}", 0.2 + 0.3 * s, int(100 * s), strength=s) for s in (0.0, 0.4, 1.0)]
    prompt = [Measured("prompt_fidelity", 0.3 - 0.05 * s, 0.2, 0.4, "higher", 4, "judge") for s in (0.0, 0.4, 1.0)]
    states = [Evaluation(e.name, (e.scores[0], p), e.shots, e.strength) for e, p in zip(ordered, prompt, strict=True)]
    words = StrengthRange(0.4, 1.0, "From 0.4 to 1, both are there.", is_met=True)
    return Scores("world", "", ("judge",), tuple(states), strength=words, title="mug")


def page_of(folder: Path, scores: Scores) -> tuple[Page, str]:
    html = write_page(folder, scores).read_text(encoding="utf-8")
    return Page(html), html


def test_two_things_are_side_by_side_with_numbers_intervals_and_verdicts(tmp_path):
    page, _ = page_of(tmp_path, comparison(tmp_path))
    text = re.sub(r"\s+", " ", page.text)
    for words in [
        "one and two",
        "A subject & its places.",
        "subject fidelity How near the pictures are to the real ones of the subject. Higher is better. By judge, on 4 ",
        "0.7 0.6 to 0.8 better",
        "two against one: better in subject fidelity (+0.2, 0.15 to 0.25); without a score in face distance.",
        "face_distance: no face.",
        "no score",
        *TEXTS,
    ]:
        assert words in text, words


def test_what_is_said_of_a_metric_is_that_of_the_first_thing_that_has_a_score(tmp_path):
    scores = comparison(tmp_path)
    one, two = scores.evaluations
    seen = Measured("face_distance", 0.9, 0.8, 1.0, "lower", 4, "eyes")
    mixed = replace(scores, evaluations=(one, replace(two, scores=(two.scores[0], seen))))
    page, _ = page_of(tmp_path, mixed)
    text = re.sub(r"\s+", " ", page.text)
    assert "the real one; pictures without a face do not count. Lower is better. By eyes, on 4 pictures." in text
    assert text.count("Lower is better.") == text.count("Higher is better.") == 2  # the table's line and the chart


def test_every_picture_tells_its_scores_and_where_it_stands(tmp_path):
    page, _ = page_of(tmp_path, comparison(tmp_path))
    told = [(image["data-where"], image["data-scores"]) for image in page.previews()]
    assert told[:2] == [
        ("one · seed 0", "subject fidelity 0.5\nface distance –"),
        ("two · seed 0", "subject fidelity 0.7\nface distance –"),
    ]
    assert len(told) == 8


def test_one_thing_has_a_column_for_each_seed(tmp_path):
    page, _ = page_of(tmp_path, Scores("world", "", ("judge",), (evaluation(tmp_path, "mug", 0.5, 0),)))
    assert [image["data-where"] for image in page.previews()] == ["seed 0", "seed 1"] * 2
    assert "against" not in page.text


def test_a_sweep_of_a_style_draws_how_near_it_is(tmp_path):
    found = sweep(tmp_path)
    states = [
        replace(e, scores=(replace(e.scores[0], name="style_similarity"), e.scores[1])) for e in found.evaluations
    ]
    assert found.strength is not None
    advice = replace(found.strength, likeness="style_similarity")
    _, html = page_of(tmp_path, replace(found, evaluations=tuple(states), strength=advice))
    chart = html.partition('id="charts-heading"')[2].partition("<h2")[0]
    assert "style similarity" in chart
    assert "subject fidelity" not in chart


def test_a_sweep_has_its_curve_and_its_advice(tmp_path):
    page, html = page_of(tmp_path, sweep(tmp_path))
    assert "From 0.4 to 1, both are there." in page.text
    charts = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(charts) == 2  # one for large and one for small screens
    ticks = [element.text for element in ET.fromstring(charts[0]).iter() if element.get("class") == "tick"]
    assert "0.4" in ticks
    assert "1.0" in ticks


def test_it_fetches_nothing_and_names_nobody(tmp_path):
    page, html = page_of(tmp_path, comparison(tmp_path))
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "poster", "action", "data"):
            address = attributes.get(name)
            assert address is None or address.startswith("data:"), (tag, name, address)
    assert "<b>ink</b>" not in html
    assert str(tmp_path) not in html


def test_a_picture_that_is_gone_is_named_and_the_rest_is_shown(tmp_path):
    scores = comparison(tmp_path)
    (tmp_path / "one" / "0-0.png").unlink()
    page, _ = page_of(tmp_path, scores)
    assert "0-0.png cannot be read." in page.text
    assert len(page.previews()) == 7


def test_a_large_suite_stays_a_page_and_says_what_is_left_out(tmp_path):
    page, _ = page_of(tmp_path, comparison(tmp_path, seeds=20))
    assert len(page.previews()) == 24 * 2
    assert "24 of 40 rows are shown." in page.text


def test_an_interval_is_drawn_to_scale():
    chart = ET.fromstring(interval_chart("x", [Bar("a", 0.5, 0.0, 1.0), Bar("b", math.nan, math.nan, math.nan)], 400))
    lines = [e for e in chart.iter() if e.tag.endswith("line") and e.get("class") == "line"]
    dots = [e for e in chart.iter() if e.tag.endswith("circle")]
    assert len(lines) == len(dots) == 1
    middle = (float(lines[0].get("x1")) + float(lines[0].get("x2"))) / 2
    assert abs(float(dots[0].get("cx")) - middle) < 0.1
    assert "b: no score." in ET.tostring(chart, encoding="unicode")
    assert interval_chart("x", [Bar("a", math.nan, math.nan, math.nan)], 400) == ""


def test_equal_within_noise_is_said_in_words(tmp_path):
    scores = comparison(tmp_path)
    equal = Difference("two", "one", "subject_fidelity", 0.01, -0.1, 0.12, "equal within noise", is_paired=True)
    said = in_words(Scores("world", "", (), scores.evaluations, (equal,)))
    assert said == ["two against one: equal within noise in subject fidelity."]
