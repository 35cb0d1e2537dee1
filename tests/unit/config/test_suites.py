"""Suites as people write them: every packaged one loads, and every mistake is named with its line and its cure."""

import pytest

from maquette.config.suites import load_suite, suite_names
from maquette.errors import ConfigError

OWN = """\
# My own.
metrics = ["subject_fidelity"]
num = 2

[[prompts]]
text = "a photo of [subject] on the beach"
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        (tmp_path / "my.toml").write_text(text, encoding="utf-8")
        return "my.toml"

    return write


@pytest.mark.parametrize("name", suite_names())
def test_a_packaged_suite_loads_and_says_what_it_is_for(name):
    suite = load_suite(name)
    assert suite.name == name
    assert suite.about.endswith((".", ":")) or len(suite.about) > 40


def test_the_reference_suites_have_the_numbers_of_their_documents():
    assert len(load_suite("homework-face").config.prompts) == 25
    assert load_suite("homework-face").config.seed == 1126
    assert load_suite("homework-face").config.prompts[0].text == "A [subject] in a black hoodie and khaki pants."
    assert load_suite("dreambooth").config.num == 4
    assert load_suite("jittor-style").config.sampling.steps == 100


def test_the_world_has_ten_places_and_leaves_out_what_was_shown():
    prompts = load_suite("world").config.prompts
    assert sum("a photo of [subject]" in prompt.text for prompt in prompts) == 10
    assert all(prompt.unless_shown for prompt in prompts if prompt.shows == "subject")


def test_an_own_suite_is_read_from_its_file_and_changed_by_set(write):
    suite = load_suite(write(OWN), ["num=4", "sampling.steps=5"])
    assert (suite.name, suite.about, suite.config.num, suite.config.sampling.steps) == ("my", "My own.", 4, 5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OWN.replace("num", "nmu"), ["my.toml:3", "nmu is not a known key", "Did you mean num?"]),
        (OWN.replace("text =", "txt ="), ["my.toml:6", "prompts.0.txt", "Did you mean prompts.text?", "is required"]),
        (OWN.replace("2", "0"), ["my.toml:3", "num = 0 should be at least 1"]),
        (OWN.partition("\n[[")[0], ["prompts is empty", "[[prompts]]"]),
        (OWN.replace('["subject_fidelity"]', "[]"), ["metrics is empty", "subject_fidelity"]),
        (OWN + 'shows = "class"\n', ["prompts.0.text", "write [class]"]),
        (OWN + 'scored = "a [subject]"\n', ["prompts.0.scored", "no scorer knows"]),
        (OWN + OWN.partition("num = 2")[2], ["twice", "set num"]),
        (OWN.replace('"subject_fidelity"', '"a", "a"'), ["names one twice"]),
        (OWN + "[sampling]\nstps = 3\n", ["my.toml:8", "Did you mean sampling.steps?"]),
        ("metrics = [", ["is not TOML"]),
    ],
)
def test_mistakes_are_named_with_their_line_and_cure(write, text, words):
    with pytest.raises(ConfigError) as error:
        load_suite(write(text))
    assert [word for word in words if word not in str(error.value)] == []


def test_unknown_names_bring_the_nearest(write):
    with pytest.raises(ConfigError, match='Did you mean "world"'):
        load_suite("wolrd")
    with pytest.raises(ConfigError, match=r"there is no such file. Packaged suites: .*dreambooth"):
        load_suite("absent.toml")
    with pytest.raises(ConfigError, match="Did you mean num"):
        load_suite(write(OWN), ["nmu=1"])
