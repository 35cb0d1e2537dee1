import math
from dataclasses import replace

import pytest
import torch
from tests.unit.evaluation.fakes import coded, fake_networks, fake_set, rows

from maquette.errors import DataError
from maquette.evaluation.metric import EvalSet
from maquette.evaluation.networks import Named
from maquette.evaluation.quality import nearer_to_first, quality
from maquette.evaluation.similarity import drift, image_similarity, preservation, prompt_fidelity, subject_fidelity

# 0 to 2: the axes; 3: halfway between the first two; 4: against the first.
TABLE = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0.5**0.5, 0.5**0.5, 0], [-1.0, 0, 0]]


def networks():
    return replace(fake_networks(), instance=rows(TABLE), image=rows(TABLE), style=rows(TABLE))


def coded_set(generated, references, concepts=None) -> EvalSet:
    concepts = concepts or ["dog"] * len(generated)
    return EvalSet(
        [coded(i) for i in generated],
        ["a dog"] * len(generated),
        concepts,
        {name: [coded(i) for i in numbers] for name, numbers in references.items()},
    )


def test_it_is_the_mean_cosine_over_all_pairs():
    score = subject_fidelity(networks())(coded_set([0, 1, 3, 4], {"dog": [0, 1]}))
    assert score.per_image == pytest.approx([0.5, 0.5, 0.5**0.5, -0.5], abs=1e-6)
    assert score.value == pytest.approx((0.5 + 0.5**0.5) / 4, abs=1e-6)
    assert (score.better, score.n, score.network) == ("higher", 4, "table")


def test_concepts_count_the_same_however_many_pictures_they_have():
    found = coded_set([0, 0, 0, 1], {"dog": [0], "mug": [0]}, ["dog", "dog", "dog", "mug"])
    assert image_similarity(networks())(found).value == pytest.approx(0.5)  # not 3/4
    assert image_similarity(networks())(found).per_image == pytest.approx([1, 1, 1, 0])


def test_references_of_one_concept_say_nothing_about_another():
    found = coded_set([0, 0], {"dog": [0], "mug": [1], "cat": [2]}, ["dog", "mug"])
    assert subject_fidelity(networks())(found).per_image == pytest.approx([1, 0])


def test_a_prompt_is_followed_by_the_cosine_of_its_own_picture():
    texts = {"a dog": [1.0, 0, 0], "a mug": [0, 0, 1.0]}
    named = Named("words", "words", lambda prompts: torch.tensor([texts[prompt] for prompt in prompts]))
    found = replace(coded_set([0, 1, 2, 3], {}), prompts=["a dog", "a dog", "a mug", "a dog"])
    score = prompt_fidelity(replace(networks(), text=named))(found)
    assert score.per_image == pytest.approx([1, 0, 1, 0.5**0.5])
    assert score.warnings == ()


def test_words_that_a_judge_leaves_out_are_told():
    named = Named("judge", "words", lambda prompts: torch.tensor(TABLE[:1] * len(prompts)))
    found = replace(coded_set([0, 1], {}), prompts=["a zorbly mug", "a mug on the moon"])
    score = prompt_fidelity(replace(networks(), text=named))(found)
    assert score.warnings == ("the judge does not know these words, and reads prompts without them: zorbly, moon",)


def test_preservation_looks_at_class_pictures_and_not_at_generated_ones():
    found = replace(coded_set([0, 0], {"dog": [0]}), class_images={"dog": [coded(1), coded(3), coded(4)]})
    score = preservation(networks())(found)
    assert score.value == pytest.approx((0.5**0.5 - 1) / 3)
    assert (score.better, score.n, score.per_image) == ("lower", 3, None)


def test_drift_is_nothing_for_the_same_pictures_and_compares_each_with_its_own():
    neutral = [coded(i) for i in (0, 1, 2)]
    found = replace(coded_set([0, 0], {}), neutral=neutral, neutral_base=neutral)
    assert drift(networks())(found).value == pytest.approx(0, abs=1e-12)
    turned = replace(found, neutral_base=[coded(i) for i in (4, 1, 3)])
    assert drift(networks())(turned).value == pytest.approx((2 + 0 + 1) / 3)


def test_quality_is_a_softmax_of_a_hundred_cosines():
    anchors = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    angle = math.pi / 4 + torch.tensor([0.0, 0.01, -0.02])
    found = nearer_to_first(torch.stack([angle.cos(), angle.sin()], 1), anchors)
    torch.testing.assert_close(found, torch.sigmoid(100 * (angle.cos() - angle.sin())))
    assert found[0] == pytest.approx(0.5, abs=1e-4)


def test_quality_is_not_guessed_by_a_network_that_reads_good_and_bad_alike():
    deaf = Named("deaf", "deaf", lambda texts: torch.ones(len(texts), 12) / 12**0.5)
    assert 0 <= quality(fake_networks())(fake_set()).value <= 1
    with pytest.raises(DataError, match=r"deaf reads 'Good photo.' and 'Bad photo.' alike"):
        quality(replace(fake_networks(), text=deaf))(fake_set())


def test_what_is_missing_is_named_with_the_cure():
    pictures = fake_set()
    with pytest.raises(DataError, match=r"no reference pictures of: mug \(there are some of: dog\)"):
        subject_fidelity(networks())(replace(pictures, references={"dog": [coded(0)], "mug": []}))
    with pytest.raises(DataError, match="no class pictures of: dog, mug"):
        preservation(networks())(replace(pictures, class_images={}))
    with pytest.raises(DataError, match="4 neutral pictures with the adapter and 0 without"):
        drift(networks())(replace(pictures, neutral_base=()))
    with pytest.raises(DataError, match="9 generated pictures but 8 prompts"):
        prompt_fidelity(networks())(replace(pictures, prompts=pictures.prompts[1:]))
