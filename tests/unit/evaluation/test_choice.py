"""The rule that chooses a checkpoint, against cases whose answer is plain, and against simulated runs."""

import math

import pytest
import torch

from maquette.evaluation.choice import Reading, Scale, choose, choose_by_loss, is_spent

SCALE = Scale(untouched=0.2, real=0.7, ignored=0.1, followed=0.3)


def flat(step: int, like: float, prompt: float, count: int = 12) -> Reading:
    """A step at which every picture scores the same."""
    return Reading(step, (like,) * count, (prompt,) * count)


@pytest.mark.parametrize(
    ("like", "prompt", "balance"),
    [
        (0.2, 0.3, 0.0),  # nothing learned
        (0.7, 0.1, 0.0),  # the prompt is ignored
        (0.7, 0.3, 1.0),
        (0.9, 0.5, 1.0),  # more than can be hoped for is no gain
        (0.45, 0.25, math.sqrt(0.5 * 0.75)),
        (0.1, 0.0, 0.0),
    ],
)
def test_the_balance_is_the_geometric_mean_of_both_on_their_scales(like, prompt, balance):
    assert SCALE.of(flat(1, like, prompt)) == pytest.approx(balance, abs=1e-6)


def test_a_scale_without_length_tells_nothing_apart():
    narrow = Scale(untouched=0.5, real=0.505, ignored=0.1, followed=0.3)
    assert narrow.of(flat(1, 0.2, 0.2)) == pytest.approx(math.sqrt(0.5))


def test_a_picture_without_a_face_counts_as_nothing_learned():
    all_faceless = Reading(1, (None,) * 4, (0.3,) * 4)
    half = Reading(1, (None, None, 0.7, 0.7), (0.3,) * 4)
    assert SCALE.of(all_faceless) == pytest.approx(0, abs=1e-6)
    assert SCALE.of(half) == pytest.approx(math.sqrt(0.5))


def test_without_noise_the_highest_is_chosen():
    readings = [flat(100, 0.4, 0.29), flat(200, 0.6, 0.28), flat(300, 0.69, 0.16)]
    choice = choose(readings, SCALE)
    assert (choice.step, choice.highest) == (200, 200)
    assert "highest of 3 checkpoints" in choice.reason


def test_within_the_noise_the_earlier_is_chosen():
    """The same pictures, one step a hair better on half of them and worse on the others."""
    wobble = [0.05 if i % 2 else -0.05 for i in range(12)]
    earlier = Reading(100, tuple(0.5 + w for w in wobble), (0.25,) * 12)
    later = Reading(200, tuple(0.503 - w for w in wobble), (0.25,) * 12)
    choice = choose([earlier, later], SCALE)
    assert (choice.step, choice.highest) == (100, 200)
    assert "within the noise of the highest" in choice.reason


def test_a_small_gain_on_every_picture_is_no_noise():
    """Pictures differ much, but each of them gained: compared picture by picture, that is seen."""
    base = torch.linspace(0.3, 0.7, 12).tolist()
    earlier, later = (Reading(step, tuple(b + gain for b in base), (0.25,) * 12) for step, gain in ((1, 0), (2, 0.02)))
    assert choose([earlier, later], SCALE).step == 2


def test_where_nothing_is_learned_the_last_is_kept_and_it_is_said():
    choice = choose([flat(100, 0.1, 0.3), flat(200, 0.15, 0.3)], SCALE)
    assert choice.step == 200
    assert "No checkpoint has learned anything" in choice.reason


def test_error_is_the_standard_error_of_the_paired_difference():
    """Where the balance is linear in likeness, its bootstrap error is the textbook one."""
    generator = torch.Generator().manual_seed(0)
    one, two = (0.45 + 0.02 * torch.randn(40, generator=generator, dtype=torch.float64) for _ in range(2))
    scale = Scale(untouched=0.2, real=0.7, ignored=0.1, followed=0.105)  # prompts tell nothing apart
    found = scale.error(*(Reading(0, tuple(values.tolist()), (0.3,) * 40) for values in (one, two)))
    slope = 0.5 / math.sqrt(0.5) / 0.5  # of sqrt((x - 0.2) / 0.5) at 0.45
    expected = slope * float((one - two).std()) / math.sqrt(40)
    assert found == pytest.approx(expected, rel=0.06)  # 2000 draws; the square root bends a little


def test_in_simulated_runs_it_is_nearly_the_best_and_earlier_than_the_highest():
    """Runs that overfit more or less, 12 pictures a step: the choice loses a small part of what the last does."""
    generator = torch.Generator().manual_seed(0)
    lost, lost_last, earlier = [], [], 0
    steps = torch.arange(1, 7) / 6
    for run in range(60):
        like = 0.2 + 0.4 * (1 - torch.exp(-(2 + run % 7) * steps))
        prompt = 0.3 - 0.16 * (run % 5) / 4 * steps**2
        truth = SCALE.balance(like.double(), prompt.double())
        noise = torch.randn(2, 12, 7, generator=generator)
        likes = like + 0.06 * (noise[0, :, :1] + noise[0, :, 1:])
        prompts = prompt + 0.04 * (noise[1, :, :1] + noise[1, :, 1:])
        readings = [Reading(i, tuple(likes[:, i].tolist()), tuple(prompts[:, i].tolist())) for i in range(6)]
        choice = choose(readings, SCALE)
        lost.append(float(truth.max() - truth[choice.step]))
        lost_last.append(float(truth.max() - truth[-1]))
        earlier += choice.step < choice.highest
    assert sum(lost) / 60 < 0.02
    assert sum(lost) < sum(lost_last) / 4
    assert earlier > 5


def test_the_lowest_loss_is_chosen_and_of_equals_the_earlier():
    assert choose_by_loss([(100, 0.3), (200, 0.1), (300, 0.1), (400, 0.2)]).step == 200


@pytest.mark.parametrize(("patience", "spent"), [(0, False), (1, True), (2, True), (3, False)])
def test_patience_counts_checkpoints_after_the_chosen(patience, spent):
    assert is_spent(200, {100: 0.3, 200: 0.5, 300: 0.4, 400: 0.4}, patience) is spent
