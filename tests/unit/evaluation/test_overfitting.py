"""What scores say of a run, in sentences: each sign of overfitting where it is there, and only there."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import t

from maquette.evaluation.choice import Choice, Reading
from maquette.evaluation.fidelity import by_prompt
from maquette.evaluation.overfitting import difference, findings, loss_findings
from maquette.evaluation.probes import Probe

WOBBLE = [0.01 * (i % 3 - 1) for i in range(12)]


def reading(step: int, like: float, prompt: float, diverse: float = 0.4, drift: float = 0.1, turn: int = 0) -> Reading:
    """A step around these means, each picture a little off."""

    def around(mean: float, count: int = 12) -> tuple[float, ...]:
        return tuple(mean + WOBBLE[(i + turn) % 12] for i in range(count))

    return Reading(step, around(like), around(prompt), around(diverse), around(drift, 4))


BASE = reading(0, 0.1, 0.6)


def told(readings: list[Reading], chosen: int, **balance: float) -> str:
    values = {r.step: balance.get(f"s{r.step}", 0.5) for r in readings}
    return " ".join(findings("subject", BASE, readings, Choice(chosen, chosen, values)))


def test_every_sign_of_overfitting_is_named_with_its_numbers():
    said = told([reading(100, 0.6, 0.6), reading(200, 0.7, 0.4, diverse=0.2, drift=0.3, turn=1)], 100)
    assert "It overfits after step 100: until step 200 pictures still grew more like" in said
    assert "(0.60 to 0.70)" in said
    assert "prompts are followed less (0.60 to 0.40)" in said
    assert "pictures of one prompt became more alike (0.40 to 0.20)" in said
    assert "the rest of the base drifted further (0.10 to 0.30)" in said


@pytest.mark.parametrize(
    ("change", "present", "absent"),
    [
        ({"prompt": 0.4}, "followed less", "alike ("),
        ({"diverse": 0.2}, "became more alike", "followed less"),
        ({"drift": 0.4}, "drifted further", "followed less"),
    ],
)
def test_a_single_sign_is_named_alone(change, present, absent):
    said = told([reading(100, 0.6, 0.6), reading(200, **{"like": 0.6, "prompt": 0.6, **change}, turn=1)], 100)
    assert present in said
    assert absent not in said
    assert "grew no more like" in said


def test_noise_is_no_sign():
    said = told([reading(100, 0.6, 0.6), reading(200, 0.601, 0.599, turn=1)], 100)
    assert "nothing changed beyond the noise" in said
    assert "overfits" not in said


def test_a_run_that_still_rises_is_told_to_go_on():
    assert "more steps may do better" in told([reading(100, 0.4, 0.6), reading(200, 0.6, 0.6)], 200, s100=0.3, s200=0.6)


def test_what_the_last_checkpoint_has_cost_is_named_where_it_is_the_best():
    """No later one shows it: the first checkpoint is compared with it."""
    readings = [
        reading(100, 0.5, 0.6, diverse=0.42, drift=0.05),
        reading(200, 0.65, 0.58, diverse=0.3, drift=0.2, turn=1),
        reading(300, 0.8, 0.55, diverse=0.08, drift=0.5, turn=2),
    ]
    said = told(readings, 300, s100=0.5, s200=0.6, s300=0.7)
    assert said == (
        "The last checkpoint, step 300, is the best: more steps may do better still. But since step 100 prompts are "
        "followed less (0.60 to 0.55), pictures of one prompt became more alike (0.42 to 0.08) and the rest of the "
        "base drifted further (0.05 to 0.50)."
    )


def test_no_sign_is_claimed_of_what_was_not_looked_at():
    def without_diversity(step: int, like: float) -> Reading:
        return replace(reading(step, like, 0.6), diversity=())

    said = told([without_diversity(100, 0.4), without_diversity(200, 0.6)], 200, s100=0.3, s200=0.6)
    assert said.endswith("No sign of overfitting since step 100 in prompt fidelity and drift from the base.")
    assert told([reading(200, 0.6, 0.6)], 200).startswith("Step 200 alone was scored")


def test_a_run_that_learned_nothing_is_told_so():
    assert "Little was learned" in told([reading(100, 0.1, 0.6, turn=1)], 100)


def test_a_rising_validation_loss_is_named():
    said = loss_findings([(100, 0.2), (200, 0.1), (300, 0.15)])
    assert said[0].startswith("The validation loss rose from 0.1000 at step 200 to 0.1500 at step 300")
    assert loss_findings([(100, 0.2), (200, 0.1), (300, 0.101)]) == []
    assert loss_findings([]) == []


def test_a_difference_is_that_of_the_same_pictures():
    found = difference([0.1, 0.5, None, 0.9], [0.2, 0.7, 0.4, 1.0])
    mean, deviation = 0.4 / 3, math.sqrt(((0.1 - 0.4 / 3) ** 2 * 2 + (0.2 - 0.4 / 3) ** 2) / 2)
    assert (found.low + found.high) / 2 == pytest.approx(mean)
    assert (found.high - found.low) / 2 == pytest.approx(t.ppf(0.975, 2) * deviation / math.sqrt(3), rel=1e-5)
    assert found.before == pytest.approx(0.5)
    assert difference([0.1], [0.9]).sign == 0


@pytest.mark.parametrize("num", [2, 3])
def test_diversity_that_did_not_change_is_seldom_said_to(num):
    """Of four prompts, each with few pictures that share their distances; 5 % are to be expected."""
    probes = [Probe(f"prompt {i}", "", seed, 0) for i in range(4) for seed in range(num)]
    places = torch.randn(2, 1000, 4, num, generator=torch.Generator().manual_seed(num), dtype=torch.float64)
    apart = (places[..., None] - places[..., None, :]).abs().sum(-1) / (num - 1)
    before, after = apart.reshape(2, 1000, 4 * num).tolist()
    signs = [difference(by_prompt(probes, a), by_prompt(probes, b)).sign for a, b in zip(before, after, strict=True)]
    assert 0.02 < sum(map(abs, signs)) / 1000 < 0.08
