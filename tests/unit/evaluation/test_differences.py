"""Whether two things differ by more than chance, where the answer is known."""

import math
import random

import pytest
import torch

from maquette.evaluation.differences import difference, differences
from maquette.runs.scores import Evaluation, Measured, Shot


def of(name: str, values: list[float], better: str = "higher", concepts: list[str] | None = None) -> Evaluation:
    known = [value for value in values if math.isfinite(value)]
    mean = sum(known) / len(known) if known else math.nan
    shots = tuple(
        Shot("", f"prompt {i}", "", "", 0, concepts[i] if concepts else "mug", {"metric": value})
        for i, value in enumerate(values)
    )
    return Evaluation(name, (Measured("metric", mean, mean - 0.1, mean + 0.1, better, len(known), "judge"),), shots)


NOISE = [random.Random(i).gauss(0.5, 0.2) for i in range(40)]


def test_the_same_pictures_are_equal_within_noise():
    found = difference(of("a", NOISE), of("b", NOISE), "metric")
    assert (found.value, found.low, found.high, found.verdict) == (0, 0, 0, "equal within noise")


@pytest.mark.parametrize(("better", "verdict"), [("higher", "better"), ("lower", "worse")])
def test_a_small_gain_in_every_picture_is_seen_through_much_noise(better, verdict):
    """The shift is a tenth of the pictures' own spread: only pairs can tell it."""
    found = difference(of("a", [value + 0.02 for value in NOISE], better), of("b", NOISE, better), "metric")
    assert found.value == pytest.approx(0.02)
    assert found.low == pytest.approx(0.02)
    assert found.is_paired
    assert found.verdict == verdict


def test_the_interval_is_that_of_a_mean_of_differences():
    gains = [random.Random(100 + i).gauss(0, 0.1) for i in range(40)]
    found = difference(of("a", [v + g for v, g in zip(NOISE, gains, strict=True)]), of("b", NOISE), "metric")
    mean = sum(gains) / 40
    error = (sum((g - mean) ** 2 for g in gains) / 40) ** 0.5 / 40**0.5
    assert found.value == pytest.approx(mean)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)  # the normal limit; 2000 draws
    assert found.verdict == "equal within noise"


def diverse(name: str, distances: torch.Tensor) -> Evaluation:
    """An evaluation by the distances (p, n, n) of n pictures of each of p prompts."""
    prompts, n, _ = distances.shape
    means = (distances.sum(2) / (n - 1)).tolist()
    shots = tuple(
        Shot("", f"prompt {i}", "", "", j, "mug", {"diversity": means[i][j]}) for i in range(prompts) for j in range(n)
    )
    value = float(distances.sum() / (prompts * n * (n - 1)))
    return Evaluation(
        name, (Measured("diversity", value, value - 1, value + 1, "higher", prompts * n, "judge"),), shots
    )


@pytest.mark.parametrize("n", [2, 5])
def test_the_interval_of_a_difference_in_diversity_is_as_wide_as_chance(n):
    """Pictures of a prompt share their distances: drawn one by one, the interval would be too narrow by √2 and more."""
    generator = torch.Generator().manual_seed(n)

    def drawn(repeats: int) -> torch.Tensor:
        spread = 1 + torch.rand(repeats, 40, 1, generator=generator, dtype=torch.float64)  # of each prompt
        places = spread * torch.randn(2, repeats, 40, n, generator=generator, dtype=torch.float64)
        return (places[..., None] - places[..., None, :]).abs()

    one, other = drawn(4000)
    chance = float((one - other).sum((2, 3)).mean(1).div(n * (n - 1)).std())
    found = [difference(diverse("a", a), diverse("b", b), "diversity") for a, b in zip(*drawn(12), strict=True)]
    assert all(each.is_paired for each in found)
    width = sum(each.high - each.low for each in found) / len(found)
    # Of 40 prompts the bootstrap takes 1 % from a deviation; each of the 12 widths is off by some 12 %.
    assert width == pytest.approx(2 * 1.96 * chance, rel=0.12)


def test_diversity_in_a_single_prompt_is_compared_by_its_intervals():
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(2, 1, 6, generator=generator, dtype=torch.float64)
    one, other = (places[..., None] - places[..., None, :]).abs()
    assert not difference(diverse("a", one), diverse("b", other), "diversity").is_paired


def test_pairs_are_found_by_prompt_and_not_by_place():
    a, b = of("a", NOISE), of("b", NOISE)
    mixed = Evaluation("b", b.scores, tuple(reversed(b.shots)))
    assert difference(a, mixed, "metric").high == 0


def test_concepts_count_the_same_however_many_pictures_each_has():
    concepts = ["cup"] * 2 + ["mug"] * 8
    a, b = of("a", [1.0] * 2 + [0.0] * 8, concepts=concepts), of("b", [0.0] * 10, concepts=concepts)
    assert difference(a, b, "metric").value == pytest.approx(0.5)


def test_a_metric_of_the_whole_set_is_compared_by_its_intervals():
    score = Measured("metric", 0.5, 0.4, 0.6, "lower", 9, "judge")
    near = Evaluation("a", (score,), ())
    far = Evaluation("b", (Measured("metric", 0.9, 0.8, 1.0, "lower", 9, "judge"),), ())
    found = difference(far, near, "metric")
    assert (found.is_paired, found.verdict) == (False, "worse")
    assert (found.low, found.high) == (pytest.approx(0.2), pytest.approx(0.6))
    assert difference(near, near, "metric").verdict == "equal within noise"


def test_without_a_score_nothing_is_better():
    nothing = of("faceless", [math.nan] * 4, "lower")
    assert difference(nothing, of("b", [1.0] * 4, "lower"), "metric").verdict == "no score"
    assert difference(of("b", [1.0] * 4, "lower"), nothing, "metric").verdict == "no score"


def test_all_are_compared_with_the_first():
    found = differences([of("a", NOISE), of("b", NOISE), of("c", NOISE)])
    assert [(each.name, each.other) for each in found] == [("b", "a"), ("c", "a")]
