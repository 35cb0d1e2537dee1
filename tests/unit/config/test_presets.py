"""The packaged recipes: each loads, says where it is from, and has the numbers of the document it cites."""

import pytest

from maquette.config.layers import preset_layer
from maquette.config.load import load_config
from maquette.config.presets import preset_names, preset_summary, preset_text

# The numbers as the reference documents give them, read from the documents and not from the presets.
DOCUMENTED = {
    "sd1-subject-lora": {"adapter.rank": 4, "optimizer.lr": 1e-4, "training.steps": 500, "training.batch_size": 1},
    "sd1-subject-full": {"adapter.kind": "full", "optimizer.lr": 5e-6, "training.steps": 400},
    "sd1-subject-full-class-images": {
        "class_images.count": 200,
        "class_images.weight": 1.0,
        "training.steps": 800,
        "optimizer.lr": 5e-6,
    },
    "sd1-face-lora": {
        "adapter.rank": 32,
        "adapter.lora_alpha": 16.0,
        "training.seed": 1126,
        "training.batch_size": 2,
        "training.steps": 2000,
        "schedule.kind": "cosine_with_restarts",
        "schedule.cycles": 3,
        "schedule.warmup_steps": 100,
        "loss.weighting.gamma": 5.0,
        "text_encoder.lr": 1e-4,
    },
    "sd2-style-lora": {"adapter.rank": 32, "adapter.dropout": 0.1, "optimizer.lr": 1e-5, "training.seed": 123456},
    "sdxl-style-lora": {
        "adapter.rank": 8,
        "optimizer.kind": "prodigy",
        "optimizer.lr": 1.0,
        "optimizer.betas": (0.9, 0.99),
        "optimizer.weight_decay": 0.01,
        "training.steps": 1000,
        "training.batch_size": 3,
        "loss.weighting.gamma": 5.0,
        "data.resolution": 1024,
        "model.vae": "madebyollin/sdxl-vae-fp16-fix",
    },
    "sdxl-style-dora": {"adapter.kind": "dora", "adapter.rank": 8, "training.steps": 3000},
    "sdxl-subject-lora": {"adapter.rank": 32, "optimizer.lr": 1e-4, "training.steps": 1000},
    "sdxl-subject-lora-text": {"optimizer.lr": 1e-4, "text_encoder.lr": 5e-5},
    "sd2-style-lora-adaptive": {"adapter.rank": 32, "adapter.lr_ratio.kind": "adaptive", "optimizer.lr": 1e-5},
    "sdxl-style-lora-blocks": {
        "adapter.blocks": ("up_blocks.0.attentions.0", "up_blocks.0.attentions.1"),
        "adapter.rank": 64,
        "optimizer.lr": 5e-5,
        "training.steps": 1000,
    },
    "maquette64-subject-lora-plus": {"adapter.lr_ratio.ratio": 16.0},
    "maquette64-subject-lora-ga": {"adapter.init.batches": 64, "adapter.init.gamma": 16.0},
    "sdxl-style-lora-pivotal": {
        "adapter.rank": 8,
        "optimizer.kind": "prodigy",
        "tokens_lr": 1.0,
        "tokens.placeholders": {"TOK": 2},
        "tokens.init": "random",
        "tokens.stop": 0.5,
        "training.steps": 1000,
        "training.batch_size": 3,
        "loss.weighting.gamma": 5.0,
    },
    "sdxl-style-dora-pivotal": {"adapter.kind": "dora", "adapter.rank": 8, "training.steps": 3000, "tokens.stop": 0.5},
    "sdxl-subject-lora-pivotal": {"optimizer.lr": 1e-4, "tokens.lr": 3e-4, "adapter.rank": 32, "training.steps": 1000},
    "sd1-subject-inversion": {"adapter.kind": "none", "tokens_lr": 5e-3, "tokens.init": "word", "training.steps": 5000},
    "sdxl-face-lora": {"adapter.rank": 32, "class_images.count": 150, "optimizer.kind": "prodigy"},
}


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_is_explained(name: str):
    config = load_config(preset=name)
    lines = preset_text(name).splitlines()
    assert preset_summary(name).endswith(".")
    assert len(preset_summary(name)) <= 100
    assert lines[1].startswith("# Source: ")
    # a hub id, which `--base` replaces by a local folder, or the base in the package
    assert config.model.base.count("/") == 1 or config.model.base == "maquette-64"


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_named_for_its_family_goal_and_method(name: str):
    family, goal, method = name.split("-")[:3]
    config = load_config(preset=name)
    assert goal in {"subject", "style", "face"}
    assert config.adapter.kind == {"inversion": "none"}.get(method, method)
    assert (config.tokens is not None) == (method == "inversion" or "pivotal" in name)
    assert config.data.resolution in {"sd1": (512,), "sd2": (512, 768), "sdxl": (1024,), "maquette64": (None,)}[family]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_preset_has_the_numbers_of_its_document(name: str):
    config = load_config(preset=name)
    for path, expected in DOCUMENTED[name].items():
        value = config
        for part in path.split("."):
            value = getattr(value, part)
        assert value == expected, path


def test_families_goals_and_methods_are_all_there():
    parts = [set(column) for column in zip(*(name.split("-")[:3] for name in preset_names()), strict=True)]
    families, methods = {"sd1", "sd2", "sdxl", "maquette64"}, {"lora", "dora", "full", "inversion"}
    assert parts == [families, {"subject", "style", "face"}, methods]


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_can_be_tried_in_a_few_steps(name: str):
    sets = ["training.steps=20", "data.folder=photos"]
    if "warmup_steps" in preset_layer(name).tree.get("schedule", {}):
        sets.append("schedule.warmup_steps=2")
    assert load_config(preset=name, sets=sets).training.steps == 20
