"""What every metric promises, whatever it measures."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.metrics import example
from tests.unit.evaluation.fakes import fake_networks, fake_set, shuffled

from maquette.errors import ConfigError, DataError
from maquette.evaluation.metric import EvalSet
from maquette.evaluation.metrics import METRICS, metric_named, parts_needed
from maquette.evaluation.networks import judge_networks

NAMES = sorted(METRICS)
PAGE = Path(__file__).parents[3] / "docs/evaluation.md"


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_under_its_own_name_with_its_network_and_within_its_interval(name: str):
    pictures = fake_set()
    score = METRICS[name](fake_networks())(pictures)
    assert score.name == name
    assert score.network
    assert score.low <= score.value <= score.high
    if score.per_image is not None:
        assert len(score.per_image) == len(pictures.generated)
    assert score == METRICS[name](fake_networks())(pictures)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_pictures_does_not_matter(name: str):
    pictures = fake_set()
    order = [5, 0, 8, 3, 1, 7, 2, 6, 4]
    score, other = (METRICS[name](fake_networks())(each) for each in (pictures, shuffled(pictures, order)))
    assert other.value == pytest.approx(score.value, abs=1e-9)
    if score.per_image is not None:
        assert other.per_image == pytest.approx([score.per_image[i] for i in order], abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_set_needs_what_the_table_says_and_no_more(name: str):
    pictures, metric = fake_set(), METRICS[name](fake_networks())
    without = {
        "references": {"references": {}},
        "class_images": {"class_images": {}},
        "neutral": {"neutral": (), "neutral_base": ()},
    }
    needed = parts_needed([name])
    superfluous = {key: value for part in without.keys() - needed for key, value in without[part].items()}
    assert metric(replace(pictures, **superfluous)) == metric(pictures)
    for part in needed:
        with pytest.raises(DataError, match=r"\. (Generate|Give)"):
            metric(replace(pictures, **without[part]))


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"preservation", "drift"}))
@pytest.mark.parametrize("count", [0, 1])
def test_no_picture_and_one_picture_are_refused_with_the_cure(name: str, count: int):
    pictures = fake_set()
    few = replace(
        pictures,
        generated=pictures.generated[:count],
        prompts=pictures.prompts[:count],
        concepts=pictures.concepts[:count],
    )
    with pytest.raises(DataError, match="Generate"):
        METRICS[name](fake_networks())(few)


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"drift"}))
def test_lists_of_other_lengths_are_refused(name: str):
    with pytest.raises(DataError, match="9 generated pictures but 7 concepts"):
        METRICS[name](fake_networks())(replace(fake_set(), concepts=["dog"] * 7))


@pytest.fixture(scope="module")
def portraits() -> EvalSet:
    return example(20)


def test_the_judge_serves_every_metric_but_the_one_it_cannot_read(portraits: EvalSet):
    networks = judge_networks()
    unscored = []
    for name, metric in METRICS.items():
        try:
            score = metric(networks)(portraits)
        except DataError:
            unscored.append(name)
        else:
            assert "judge" in score.network or name.startswith("colour")
    assert unscored == ["quality"]  # it does not know the words good and bad


def test_an_unknown_metric_is_told_which_there_are():
    with pytest.raises(ConfigError, match="metric 'fid' is unknown; use some of: subject_fidelity, "):
        metric_named("fid")
    assert parts_needed(["drift", "preservation"]) == {"references", "class_images", "neutral"}


def test_the_manual_lists_every_metric_with_the_way_that_is_good():
    listed = dict(re.findall(r"^\| `(\w+)` +\| (higher|lower) ", PAGE.read_text("utf-8"), re.MULTILINE))
    found = {name: metric(fake_networks())(fake_set()).better for name, metric in METRICS.items()}
    assert listed == found
