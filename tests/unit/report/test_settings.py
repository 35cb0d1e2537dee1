"""Settings as tables: none missing, the unusual ones found, no path told."""

import pytest

from maquette.config.compare import changes
from maquette.config.load import load_config
from maquette.config.presets import preset_names
from maquette.config.schema import RunConfig
from maquette.report.privacy import named, without_paths
from maquette.report.settings import changed, settings_of


def flat(value: object, prefix: str = "") -> set[str]:
    """The dotted paths of all plain values of a dumped configuration."""
    if isinstance(value, dict) and not prefix.endswith(("rank_pattern", "placeholders", "words")):
        return {path for key, part in value.items() for path in flat(part, f"{prefix}.{key}" if prefix else key)}
    if isinstance(value, tuple) and value and isinstance(value[0], dict):
        return {path for i, part in enumerate(value) for path in flat(part, f"{prefix}.{i}")}
    return {prefix}


@pytest.mark.parametrize("preset", [None, *preset_names()])
def test_every_setting_is_told_with_its_meaning(preset):
    config = load_config(preset=preset)
    told = [setting for group in settings_of(config) for setting in group.settings]
    optional = (
        "class_images",
        "pack",
        "preservation",
        "tokens",
        "validation",
        "training.ema",
        "concepts",
        "evaluation.networks",
    )
    absent = {name for name in optional if not _at(config, name)}
    assert {setting.path for setting in told} == flat(config.model_dump()) - absent
    assert all(setting.meaning for setting in told if setting.name != "kind")


def _at(config: RunConfig, path: str) -> object:
    value: object = config
    for part in path.split("."):
        value = getattr(value, part)
    return value


def test_a_run_without_settings_departs_in_nothing():
    assert changed(settings_of(RunConfig())) == []


def test_what_departs_is_what_another_comparison_finds():
    config = load_config(sets=["adapter.rank=4", "training.seed=7", 'loss.weighting.kind="min_snr"', "data.flip=true"])
    expected = {change.path for change in changes(RunConfig(), config)}
    # A section of another kind departs in its kind; its other keys are at the defaults of that kind. lora_alpha follows
    # rank, so it is at its default as well.
    expected -= {"loss.weighting.gamma", "adapter.lora_alpha"}
    assert {setting.path for setting in changed(settings_of(config))} == expected


def test_several_concepts_are_told_apart():
    sets = ['concepts=[{folder="a", trigger="sks"}, {folder="b", trigger="zwx", repeats=3}]']
    told = {setting.path: setting.value for setting in changed(settings_of(load_config(sets=sets)))}
    assert told["concepts.0.trigger"] == '"sks"'
    assert told["concepts.1.repeats"] == "3"


def test_paths_are_cut_and_names_are_kept(tmp_path):
    sets = [f'model.base="{tmp_path}/models/sdxl"', f'data.folder="{tmp_path}/mug"', 'data.prompt="and/or, 3/4 view"']
    told = {setting.path: setting.value for setting in changed(settings_of(load_config(sets=sets)))}
    assert told == {"model.base": '"sdxl"', "data.folder": '"mug"', "data.prompt": '"and/or, 3/4 view"'}
    base = load_config(sets=['model.base="stabilityai/stable-diffusion-xl-base-1.0"'])
    assert changed(settings_of(base))[0].value == '"stabilityai/stable-diffusion-xl-base-1.0"'


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/home/me/photos/mug: 2 captions", "mug: 2 captions"),
        ('Put "/home/me/a b/c.png" back', 'Put "c.png" back'),
        (r"C:\Users\me\mug.png is cut", "mug.png is cut"),
        ("~/photos/mug", "mug"),
        ("files /a/b.png, /c/d.png", "files b.png, d.png"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("runwayml/stable-diffusion and/or 3/4", "runwayml/stable-diffusion and/or 3/4"),
    ],
)
def test_texts_lose_absolute_paths_alone(text, kept):
    assert without_paths(text) == kept


@pytest.mark.parametrize(("path", "kept"), [("/a/b", "b"), ("~/b", "b"), ("a/b", "a/b"), ("org/model", "org/model")])
def test_names_lose_absolute_paths_alone(path, kept):
    assert named(path) == kept
