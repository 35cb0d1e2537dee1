"""Which pictures a suite asks of whom."""

import pytest

from maquette.config.suite import PromptConfig, SamplingConfig, SuiteConfig
from maquette.errors import ConfigError
from maquette.evaluation.asking import prompts_for, wishes_of
from maquette.evaluation.learned import Concept
from maquette.evaluation.wording import Wording

SUITE = SuiteConfig(
    metrics=("subject_fidelity",),
    num=2,
    seed=5,
    sampling=SamplingConfig(steps=3, guidance=2.0),
    prompts=(
        PromptConfig(text="a photo of [subject] on the beach", scored="a photo of a [class] on the beach"),
        PromptConfig(text="[subject] in the snow", unless_shown=("snow", "snowy hills")),
        PromptConfig(text="a [class]", shows="class"),
        PromptConfig(text="a boat", shows="neutral"),
    ),
)
MUG = Concept("mug", "mug", (), ("a photo of sks mug in the forest",))


def test_a_run_is_asked_by_its_own_name_and_scored_by_the_class():
    wishes = wishes_of(SUITE, [(MUG, Wording("sks mug", "mug"))], None, is_base=False)
    beach = wishes.subjects[0]
    assert beach.request.prompt == "a photo of sks mug on the beach"
    assert beach.scored == "a photo of a mug on the beach"
    assert [wish.request.seed for wish in wishes.subjects] == [5, 6, 5, 6]
    assert (beach.request.steps, beach.request.guidance) == (3, 2.0)
    assert wishes.subjects[2].scored == "mug in the snow"


def test_the_base_is_asked_in_words_that_it_knows():
    wishes = wishes_of(SUITE, [(MUG, Wording("mug", "mug"))], None, is_base=True)
    assert wishes.subjects[0].request.prompt == "a photo of a mug on the beach"
    assert wishes.subjects[0].text == "a photo of [subject] on the beach"  # by which it is paired with a run's picture


def test_other_pictures_are_kept_apart_and_each_is_made_once():
    cup = Concept("cup", "mug", (), ())
    wishes = wishes_of(SUITE, [(MUG, Wording("sks mug", "mug")), (cup, Wording("zwx mug", "mug"))], None, is_base=False)
    assert [request.prompt for request in wishes.classes["mug"]] == ["a mug", "a mug"]
    assert [request.prompt for request in wishes.neutral] == ["a boat", "a boat"]
    assert len(wishes.requests) == 8 + 2 + 2  # both concepts are of one class


@pytest.mark.parametrize(
    ("caption", "left"),
    [
        ("a photo of sks mug in the snow", 1),
        ("Snowy hills, sks mug", 1),
        ("a photo of a snowman", 2),
        ("a photo in the snowy woods", 2),
    ],
)
def test_a_prompt_whose_words_training_showed_is_left_out(caption, left):
    kept = prompts_for(SUITE, Concept("mug", "mug", (), (caption,)), None)
    assert sum(prompt.shows == "subject" for prompt in kept) == left


def test_where_everything_was_shown_it_is_said_so():
    suite = SuiteConfig(metrics=("drift",), prompts=(PromptConfig(text="[subject] in snow", unless_shown=("snow",)),))
    with pytest.raises(ConfigError, match="Every prompt of the suite is left out"):
        prompts_for(suite, Concept("mug", "mug", (), ("a mug in snow",)), None)
