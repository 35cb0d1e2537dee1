from dataclasses import replace

import pytest
import torch
from tests.unit.evaluation.fakes import fake_networks, fake_set

from maquette.evaluation.networks import Named
from maquette.evaluation.retrieval import found_at, retrieval


@pytest.mark.parametrize("k", [1, 3, 5])
def test_it_is_whether_sorting_puts_the_own_prompt_first(k: int):
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(40, 12, generator=generator)
    own = torch.randint(12, (40,), generator=generator)
    allowed = torch.rand(40, 12, generator=generator) < 0.7
    allowed[torch.arange(40), own] = True
    expected = []
    for row in range(40):
        ranked = sorted(allowed[row].nonzero().flatten().tolist(), key=lambda t: -float(cosines[row, t]))
        expected.append(float(int(own[row]) in ranked[:k]))
    assert found_at(k, cosines, own, allowed).tolist() == expected


def test_a_network_to_which_all_prompts_look_alike_scores_a_guess():
    everything = torch.ones(6, 10, dtype=torch.bool)
    found = found_at(3, torch.full((6, 10), 0.4), torch.arange(6), everything)
    torch.testing.assert_close(found, torch.full((6,), 0.3))
    one_ahead = torch.tensor([[0.9, 0.5, 0.5, 0.5, 0.1]])
    assert found_at(2, one_ahead, torch.tensor([1]), everything[:1, :5]).item() == pytest.approx(1 / 3)


def one_hot(texts):
    order = {"a dog": 0, "a cat": 1, "a mug": 2, "a hat": 3}
    return torch.eye(4)[[order[text] for text in texts]]


def networks(shown: torch.Tensor):
    image = Named("eye", "eye", lambda pictures: shown[: len(pictures)])
    return replace(fake_networks(), image=image, text=Named("words", "words", one_hot))


def test_without_candidates_the_prompts_of_the_set_compete_and_case_does_not_count():
    pictures = replace(
        fake_set(1), generated=fake_set(1).generated, prompts=["A dog", "a  Mug", "a dog"], concepts=["x"] * 3
    )
    shown = torch.tensor([[0.9, 0.0, 0.1, 0.95], [0.9, 0.0, 0.1, 0.0], [0.2, 0.9, 0.1, 0.0]])
    score = retrieval(networks(shown), 1)(pictures)
    assert score.per_image == (1.0, 0.0, 1.0)  # a cat and a hat are nobody's prompt
    assert (score.name, score.n, score.warnings) == ("retrieval_1", 3, ())


def test_candidates_compete_instead_of_the_prompts_of_others():
    pictures = replace(fake_set(1), prompts=["a dog", "a mug", "a mug"], candidates=["a cat", "A HAT"])
    shown = torch.tensor([[0.8, 0.1, 0.9, 0.2], [0.0, 0.0, 0.5, 0.9], [0.0, 0.0, 0.9, 0.0]])
    assert retrieval(networks(shown), 1)(pictures).per_image == (1.0, 0.0, 1.0)


def test_too_few_candidates_are_warned_of():
    score = retrieval(fake_networks(), 5)(fake_set())
    assert score.value == 1
    assert score.warnings == (
        "3 candidates: a prompt is always among the 5 nearest of so few. Add candidates, other prompts.",
    )
