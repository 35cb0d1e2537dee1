"""Packs: folders of folders, tag files, ranks and steps by the number of concepts."""

import json

import pytest

from maquette.config.adapter import TokensConfig
from maquette.config.load import load_config
from maquette.config.presets import preset_names
from maquette.config.schema import RunConfig
from maquette.config.toml import dump
from maquette.data.buckets import bucket_sizes
from maquette.data.check import Fit, check_concepts
from maquette.data.gather import gather, subject_sources
from maquette.data.pack import unpacked
from maquette.errors import ConfigError, DataError


@pytest.fixture
def styles(tmp_path, paint):
    """Two styles in the reference's layout, and one with caption files."""
    for style, names in {"00": ("apple", "full_moon"), "01": ("cow",)}.items():
        for seed, name in enumerate(names):
            paint(f"styles/{style}/images/{name}.png", seed=[seed, int(style)])
    said = {"style": "purple, lineart", "item": {"apple": "apple, fruit", "full_moon": ["moon", "night"]}}
    (tmp_path / "styles/00/tag.json").write_text(json.dumps(said))
    (tmp_path / "styles/01/tag.json").write_text(json.dumps({"style": "sketch"}))
    (tmp_path / "styles/01/images/cow.txt").write_text("animal, grass")
    paint("styles/02/a.png", seed=9)
    (tmp_path / "styles/02/a.txt").write_text("a house in [trigger] style")
    return tmp_path / "styles"


def packed(folder, *, pack=(), **sections):
    """A pack's configuration."""
    return RunConfig.model_validate({"data": {"folder": folder}, "pack": dict(pack), **sections})


def test_every_folder_is_a_concept_with_its_own_words(styles):
    data = {"folder": styles, "captions": {"name_tag": True}}
    config = packed(styles, pack={"trigger": "style_[name]", "virtual": ["02"]}, data=data)
    run = unpacked(config)
    assert [(c.trigger, c.phrase, c.virtual) for c in run.concepts] == [
        ("style_00", "purple, lineart", False),
        ("style_01", "sketch", False),
        ("style_02", None, True),
    ]
    found = gather(run)
    assert [(s.concept, s.caption) for s in found.usable()] == [
        (0, "style_00,purple,lineart,apple,fruit,apple"),
        (0, "style_00,purple,lineart,moon,night,full_moon"),
        (1, "style_01,sketch,animal,grass,cow"),
        (2, "a house in style_02 style, a"),
    ]
    assert found.warnings() == []
    assert unpacked(run) == run


def test_rank_and_steps_are_those_of_all_concepts(styles):
    pack = {"rank_per_concept": 32, "steps_per_concept": 50}
    run = unpacked(packed(styles, pack=pack))
    assert (run.adapter.rank, run.adapter.lora_alpha, run.training.steps) == (96, 96.0, 150)
    assert unpacked(run) == run
    fixed = unpacked(packed(styles, adapter={"kind": "lora", "rank": 8, "lora_alpha": 4.0}))
    assert (fixed.adapter.rank, fixed.adapter.lora_alpha, fixed.training.steps) == (8, 4.0, "auto")
    own = unpacked(packed(styles, pack=pack, adapter={"kind": "lora", "lora_alpha": 4.0}))
    assert (own.adapter.rank, own.adapter.lora_alpha) == (96, 4.0)


def test_numbers_that_contradict_the_pack_are_refused(styles):
    with pytest.raises(ConfigError, match=r"adapter.rank is 16, and pack.rank_per_concept makes it 96 for 3 concepts"):
        unpacked(packed(styles, pack={"rank_per_concept": 32}, adapter={"kind": "lora", "rank": 16}))
    with pytest.raises(ConfigError, match=r"training.steps is 7, and pack.steps_per_concept makes it 30"):
        unpacked(packed(styles, pack={"steps_per_concept": 10}, training={"steps": 7}))


@pytest.mark.parametrize("preset", [name for name in preset_names() if load_config(preset=name).pack is not None])
def test_a_recipe_that_is_written_out_fits_any_number_of_concepts(styles, tmp_path, preset):
    (tmp_path / "run.toml").write_text(dump(load_config(preset=preset)))
    own, written = ({"preset": preset}, {"file": tmp_path / "run.toml"})
    mine, theirs = (unpacked(load_config(flags={"SOURCE": styles}, **which)) for which in (own, written))
    assert mine == theirs
    assert len(theirs.concepts) == 3


def test_each_trigger_may_have_new_tokens_of_its_own(styles):
    pack = {"trigger": "style_[name]", "tokens_per_concept": 2, "virtual": ["02"]}
    run = unpacked(packed(styles, pack=pack, tokens={"lr": 0.01}))
    assert run.tokens is not None
    assert (run.tokens.placeholders, run.tokens.lr) == ({"style_00": 2, "style_01": 2}, 0.01)
    assert unpacked(run) == run
    words = {"init": "word", "words": {"style_00": "line", "style_01": "sketch"}}
    assert unpacked(packed(styles, pack=pack, tokens=words)).tokens.words == words["words"]
    with pytest.raises(ConfigError, match="they differ in style_01"):
        unpacked(packed(styles, pack=pack, tokens={"init": "word", "words": {"style_00": "line"}}))
    assert unpacked(packed(styles, pack=pack)).tokens == TokensConfig(placeholders={"style_00": 2, "style_01": 2})


def test_new_tokens_that_a_pack_cannot_have_are_refused(styles):
    pack = {"tokens_per_concept": 2}
    with pytest.raises(ConfigError, match=r"tokens.placeholders is {'TOK': 1}, and pack.tokens_per_concept makes it"):
        unpacked(packed(styles, pack=pack, tokens={"placeholders": {"TOK": 1}}))
    with pytest.raises(ConfigError, match=r"text_encoder.train changes the text encoder that new tokens"):
        unpacked(packed(styles, pack=pack, text_encoder={"train": "lora"}))
    (styles / "02").rename(styles / "low poly")
    with pytest.raises(ConfigError, match="has 'low poly'; a placeholder is one word"):
        unpacked(packed(styles, pack=pack))


def test_a_prompt_for_all_names_each(styles):
    run = unpacked(packed(styles, data={"folder": styles, "prompt": "a picture in [trigger] style"}))
    assert {s.caption for s in gather(run).samples} == {f"a picture in {name} style" for name in ("00", "01", "02")}


def test_folders_that_are_no_pack_are_refused_by_name(tmp_path, styles, paint):
    with pytest.raises(ConfigError, match=r"pack.virtual: .* has no folder 07; it has 00, 01, 02"):
        unpacked(packed(styles, pack={"virtual": ["07"]}))
    (styles / "04").mkdir()
    with pytest.raises(DataError, match=r"no pictures that are read: 04\."):
        unpacked(packed(styles))
    paint("styles/loose.png", seed=3)
    with pytest.raises(DataError, match=r"beside the folders: loose\.png"):
        unpacked(packed(styles))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no folders of pictures"):
        unpacked(packed(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ('{"styles": "a"}', "is not a table of style and item alone"),
        ('{"item": {"cow": 3}}', "the tags of cow are neither a text nor a list of texts"),
    ],
)
def test_a_damaged_tag_file_is_named(styles, text, message):
    (styles / "01/tag.json").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        unpacked(packed(styles))
    assert "01/tag.json" in str(error.value)


def test_tags_and_pictures_that_do_not_meet_are_told(styles, paint):
    paint("styles/00/images/bare.png", seed=8)
    (styles / "00/images/apple.txt").write_text("something else")
    said = {"style": "purple", "item": {"apple": "apple", "full_moon": "moon", "gone": "gone"}}
    (styles / "00/tag.json").write_text(json.dumps(said))
    told = {f.kind: f.names for f in gather(unpacked(packed(styles))).findings}
    assert told == {
        "tags-missing": ("images/bare.png",),
        "tags-unused": ("gone",),
        "captions-ignored": ("images/apple.png",),
    }


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"concepts": [{"folder": "a", "prompt": "a dog"}]}, "concepts.0.trigger"),
        (
            {"concepts": [{"folder": "a", "trigger": "x"}, {"folder": "b", "trigger": "x"}]},
            "concepts.0.trigger",
        ),
        (
            {"concepts": [{"folder": "a", "trigger": "x", "repeats": 2}], "pack": {"sampler": "balanced"}},
            "concepts.0.repeats",
        ),
        ({"concepts": [{"folder": "a", "trigger": "x", "prompt": "an x", "phrase": "red"}]}, "concepts.0.prompt"),
        ({"data": {"folder": "a"}, "pack": {"trigger": "x"}}, "pack.trigger"),
        ({"data": {"folder": "a", "prompt": "a dog"}}, "data.prompt"),
        ({"data": {"folder": "a", "trigger": "sks"}}, "data.trigger"),
        ({"data": {"dataset": "a"}}, "data.dataset"),
        ({"adapter": {"kind": "full"}, "pack": {"rank_per_concept": 4}}, "pack.rank_per_concept"),
        ({"data": {"folder": "a", "captions": {"flip_tag": "mirrored"}}}, "data.captions.flip_tag"),
    ],
)
def test_contradictions_name_their_key(sections, path):
    with pytest.raises(ValueError, match=path.replace(".", r"\.")):
        RunConfig.model_validate({"pack": {}, **sections})


def test_check_reports_every_concept_and_triggers_that_hold_each_other(styles):
    (styles / "02").rename(styles / "00 b")
    run = unpacked(packed(styles))
    report = check_concepts("styles", subject_sources(run), Fit(bucket_sizes(64, 8)))
    assert report.concepts == (("00", 2), ("00 b", 1), ("01", 1))
    assert [f.names for f in report.findings if f.kind == "triggers-alike"] == [('"00" in "00 b"',)]
    assert report.is_usable
