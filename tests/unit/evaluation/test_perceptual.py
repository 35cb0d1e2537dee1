from dataclasses import replace

import pytest
import torch
from tests.unit.evaluation.fakes import coded, fake_networks, fake_set

from maquette.errors import DataError
from maquette.evaluation.metric import EvalSet
from maquette.evaluation.perceptual import diversity, perceptual_distance


def of_prompts(levels: dict[str, list[int]], references: dict[str, list[int]] | None = None) -> EvalSet:
    prompts = [prompt for prompt, found in levels.items() for _ in found]
    return EvalSet(
        [coded(level) for found in levels.values() for level in found],
        prompts,
        ["dog"] * len(prompts),
        {name: [coded(i) for i in found] for name, found in (references or {}).items()},
    )


def test_it_is_the_mean_distance_to_every_reference():
    score = perceptual_distance(fake_networks())(of_prompts({"a": [0, 51, 255]}, {"dog": [0, 255]}))
    assert score.per_image == pytest.approx([0.5, 0.5, 0.5])
    own = perceptual_distance(fake_networks())(of_prompts({"a": [10, 10]}, {"dog": [10]}))
    assert (own.value, own.low, own.high, own.better) == (0, 0, 0, "lower")


def test_diversity_is_the_mean_over_pairs_of_the_same_prompt():
    # Pairs of a: 51, 255 and 204 of 255 apart; of b: 102. Across prompts nothing is compared.
    score = diversity(fake_networks())(of_prompts({"a": [0, 51, 255], "b": [0, 102]}))
    assert score.value == pytest.approx(((0.2 + 1 + 0.8) / 3 + 0.4) / 2)
    assert score.per_image == pytest.approx([0.6, 0.5, 0.9, 0.4, 0.4])
    assert (score.n, score.better) == (5, "higher")


def test_the_same_picture_every_time_has_no_diversity():
    score = diversity(fake_networks())(of_prompts({"a": [7, 7, 7], "b": [9, 9]}))
    assert (score.value, score.low, score.high) == (0, 0, 0)


def test_a_picture_without_a_partner_does_not_count():
    score = diversity(fake_networks())(of_prompts({"a": [0, 51, 255], "b": [77]}))
    assert score.per_image is not None
    assert score.per_image[3] is None
    assert score.n == 3
    assert score.value == pytest.approx(2 / 3)


def test_the_same_prompt_of_two_concepts_is_not_compared():
    pictures = replace(of_prompts({"a": [0, 0, 255, 255]}), concepts=["dog", "dog", "mug", "mug"])
    assert diversity(fake_networks())(pictures).value == 0


def test_one_pair_is_not_enough():
    with pytest.raises(DataError, match=r"1 pairs of pictures .* at least three of one prompt, or two each of two"):
        diversity(fake_networks())(of_prompts({"a": [0, 1], "b": [2]}))


def test_pictures_of_other_sizes_reach_the_network_as_they_are():
    sizes = []

    def measure(ones, others):
        sizes.append({tuple(each.shape) for each in (*ones, *others)})
        return torch.zeros(len(ones))

    networks = fake_networks()
    perceptual_distance(replace(networks, perceptual=replace(networks.perceptual, call=measure)))(fake_set())
    assert sizes == [{(3, 8, 8), (3, 6, 6)}, {(3, 8, 8)}]
