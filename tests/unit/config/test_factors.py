"""What of starts, rates and preservation cannot be meant together, and how layers of settings replace it."""

import logging

import pytest

from maquette.config.load import load_config
from maquette.config.toml import dump
from maquette.errors import ConfigError

PHOTOS = "data.folder=photos"
CONCEPT = 'concepts=[{folder="a", trigger="sks", class_prompt="dog"}, {folder="b"}]'
WRONG = {
    "dora": (["adapter.kind=dora", "adapter.init.kind=pissa"], "adapter.init.kind", 'needs adapter.kind = "lora"'),
    "start_from": (
        ["adapter.init.kind=eva", "adapter.start_from=x.safetensors"],
        "adapter.init.kind",
        "start_from gives",
    ),
    "codes": (["adapter.init.kind=lora_ga", "model.quantize=nf4"], "adapter.init.kind", "holds in codes"),
    "prodigy, fixed": (
        ["adapter.lr_ratio.kind=fixed", "optimizer.kind=prodigy"],
        "adapter.lr_ratio.kind",
        "one step size",
    ),
    "prodigy, adaptive": (
        ["adapter.kind=dora", "adapter.lr_ratio.kind=adaptive", "optimizer.kind=prodigy"],
        "adapter.lr_ratio.kind",
        "one step size",
    ),
    "both": (
        ["preservation.class_prompt=dog", "class_images.prompt=a dog"],
        "preservation",
        "class_images both keep the class",
    ),
    "full": (["preservation.class_prompt=dog", "adapter.kind=full"], "preservation", "overwrites"),
    "no class": (["preservation.weight=0.5"], "preservation.class_prompt", "is missing"),
    "no class of one": (["preservation.weight=0.5", CONCEPT], "concepts.1.class_prompt", "needs it of every concept"),
    "kind": (["adapter.init.kind=pisa"], "adapter.init.kind", 'Did you mean "pissa"'),
    "key of another kind": (
        ["adapter.init.kind=pissa", "adapter.init.batches=3"],
        "adapter.init.batches",
        "lora_ga, eva",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_meant_is_refused_with_the_reason(name):
    sets, path, reason = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        load_config(sets=sets if CONCEPT in sets else [*sets, PHOTOS])
    assert path in str(caught.value)
    assert reason in str(caught.value)


def test_prodigy_is_fine_with_equal_rates_and_any_start():
    load_config(sets=[PHOTOS, "optimizer.kind=prodigy", "adapter.init.kind=lora_ga"])


def test_another_kind_of_adapter_drops_no_setting_that_nobody_made(caplog):
    with caplog.at_level(logging.WARNING):
        config = load_config(sets=[PHOTOS, "adapter.kind=full"])
    assert caplog.records == []
    assert config.adapter.kind == "full"


def test_a_concept_may_bring_its_class_for_preservation():
    config = load_config(sets=["preservation.weight=0.5", 'concepts=[{folder="a", trigger="sks", class_prompt="dog"}]'])
    assert config.concepts[0].class_prompt == "dog"


@pytest.mark.parametrize("kind", ["lora_ga", "pissa", "olora", "eva", "kaiming"])
def test_a_run_file_reads_back(kind, tmp_path):
    config = load_config(sets=[f"adapter.init.kind={kind}", "adapter.lr_ratio.kind=adaptive"])
    file = tmp_path / "run.toml"
    file.write_text(dump(config))
    assert load_config(file) == config
