"""The data set's own file, in its own form."""

import pytest

from maquette.config.suite import SuiteConfig
from maquette.errors import DataError
from maquette.evaluation.asking import prompts_for
from maquette.evaluation.dreambooth import find_lists, read_lists
from maquette.evaluation.learned import Concept

FILE = """\
Classes

subject_name,class
backpack,backpack
bear_plushie,stuffed animal
cat2,cat

Prompts

Object Prompts

prompt_list = [
'a {0} {1} in the jungle'.format(unique_token, class_token),
'a cube shaped {0} {1}'.format(unique_token, class_token)
]

Live Subject Prompts

prompt_list = [
'a {0} {1} wearing a red hat'.format(unique_token, class_token),
'a {0} {1} in the jungle'.format(unique_token, class_token),
'a wet {0} {1}'.format(unique_token, class_token)
]
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "prompts_and_classes.txt").write_text(FILE)
    (tmp_path / "cat2").mkdir()
    return tmp_path


def test_classes_and_both_lists_are_read(root):
    lists = read_lists(find_lists(root))
    assert lists.classes == {"backpack": "backpack", "bear_plushie": "stuffed animal", "cat2": "cat"}
    assert [p.text for p in lists.prompts("bear_plushie")] == ["a [subject] in the jungle", "a cube shaped [subject]"]
    assert lists.prompts("cat2")[0].text == "a [subject] wearing a red hat"
    assert lists.prompts("cat2")[2].scored == "a wet [class]"


def test_another_word_for_the_class_leaves_the_prompts_of_the_subject(root):
    lists = read_lists(find_lists(root))
    asked = prompts_for(
        SuiteConfig(metrics=("diversity",), dataset="dreambooth"), Concept("cat2", "tabby", (), ()), lists
    )
    assert asked == list(lists.live)


def test_the_file_is_found_from_a_subjects_folder(root):
    assert find_lists(root / "cat2") == root / "prompts_and_classes.txt"


def test_without_the_file_it_is_said_where_it_should_be(tmp_path):
    with pytest.raises(DataError, match=r"no prompts_and_classes\.txt is here or beside it"):
        find_lists(tmp_path)


@pytest.mark.parametrize(
    ("without", "named"), [("Live Subject Prompts", "Live Subject Prompts"), ("subject_name", "Classes")]
)
def test_a_file_that_was_cut_is_refused(root, without, named):
    text = FILE.partition(without)[0] if without != "subject_name" else "Prompts\n" + FILE.partition("Prompts\n")[2]
    (root / "prompts_and_classes.txt").write_text(text)
    with pytest.raises(DataError, match=f"has no {named}"):
        read_lists(root / "prompts_and_classes.txt")
