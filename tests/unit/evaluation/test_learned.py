"""What is known of the concepts of several targets: their words, and which of one target are those of another."""

from pathlib import Path

import pytest
from tests.learning.small import paint, sets

from maquette.config.load import load_config
from maquette.config.suite import SuiteConfig
from maquette.evaluation.learned import Asked, concepts_of, wordings_of
from maquette.evaluation.target import Target
from maquette.generation.batch import Maker

SUITE = SuiteConfig(metrics=("diversity",), num=2, prompts=({"text": "a photo of [subject]"},))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Folders of pictures, one for each concept."""
    for concept in ("cat", "dog", "pets"):
        paint(tmp_path / concept)
    return tmp_path


def learned(name: str, *folders: Path, virtual: Path | None = None, **settings: str) -> Target:
    """A run that learned the pictures of some folders as "NAME-cat cat" and so on, one of them to keep others apart."""
    calls = {folder: f"a photo of {name}-{folder.name} {folder.name}" for folder in folders}
    if len(folders) == 1:
        given = {"data.folder": str(folders[0]), "data.prompt": calls[folders[0]]}
    else:
        given = {
            "concepts": [
                {"folder": str(folder), "prompt": prompt, "virtual": folder == virtual}
                for folder, prompt in calls.items()
            ]
        }
    given |= {key.replace("__", "."): value for key, value in settings.items()}
    return Target(name, Maker(None, []), Path(), load_config(sets=sets(given)))


def asked_for(targets: list[Target]) -> list[list[str]]:
    """What each target calls each concept of the first."""
    asked = Asked()
    concepts = concepts_of(targets, SUITE, asked, None, needs_real=False)
    return [[wording.phrase for wording in wordings_of(target, concepts, asked)] for target in targets]


def test_a_concept_is_the_same_in_two_runs_by_the_name_of_its_folder(photos):
    a = learned("a", photos / "cat", photos / "dog")
    b = learned("b", photos / "dog", photos / "cat")
    assert asked_for([a, b]) == [["a-cat cat", "a-dog dog"], ["b-cat cat", "b-dog dog"]]


def test_who_has_not_learned_a_concept_is_asked_for_its_class_and_that_is_said(photos, caplog):
    a, b = learned("a", photos / "cat", photos / "dog"), learned("b", photos / "dog")
    assert asked_for([a, b]) == [["a-cat cat", "a-dog dog"], ["cat", "b-dog dog"]]
    assert "b: learned dog, and nothing called cat" in caplog.text


def test_two_runs_of_one_thing_are_asked_for_it_whatever_their_folders_are_called(photos, caplog):
    assert asked_for([learned("a", photos / "dog"), learned("b", photos / "pets")]) == [["a-dog dog"], ["b-pets pets"]]
    assert not caplog.records


def test_a_run_of_several_things_is_asked_for_the_one_that_the_first_has_learned(photos):
    assert asked_for([learned("a", photos / "dog"), learned("b", photos / "cat", photos / "dog")])[1] == ["b-dog dog"]


@pytest.mark.parametrize(
    ("settings", "noun"),
    [
        ({}, "pets"),
        ({"class_images__prompt": "a photo of a hound"}, "hound"),
        ({"evaluation__class_noun": "terrier", "class_images__prompt": "a photo of a hound"}, "terrier"),
    ],
)
def test_the_noun_is_what_the_run_says_before_what_the_suite_says(photos, settings, noun):
    suite = SUITE.model_copy(update={"noun": "man"})
    run = learned("a", photos / "pets", **settings)
    assert concepts_of([run], suite, Asked(), None, needs_real=False)[0].noun == noun
    assert concepts_of([run], suite, Asked(noun="puppy"), None, needs_real=False)[0].noun == "puppy"


def test_a_trigger_of_one_word_is_of_the_class_that_the_suite_names(photos):
    run = learned("a", photos / "pets", data__prompt="a photo of ohwx")
    suite = SUITE.model_copy(update={"noun": "man"})
    assert concepts_of([run], suite, Asked(), None, needs_real=False)[0].noun == "man"


def test_what_is_learned_to_keep_others_apart_is_not_asked_for(photos):
    assert asked_for([learned("a", photos / "dog", photos / "pets", virtual=photos / "pets")]) == [["a-dog dog"]]


def test_concepts_whose_folders_are_called_alike_stay_two(photos):
    for concept in ("cat", "dog"):
        paint(photos / concept / "photos")
    run = learned("a", photos / "cat" / "photos", photos / "dog" / "photos")
    found = concepts_of([run], SUITE, Asked(references=photos), None, needs_real=True)
    assert [(each.name, len(each.real)) for each in found] == [("cat/photos", 3), ("dog/photos", 3)]
