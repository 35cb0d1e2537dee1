"""The packaged recipes: each loads, says where it is from, and has the numbers of the document it cites."""

from pathlib import Path

import pytest

from maquette.config.layers import preset_layer
from maquette.config.load import load_config
from maquette.config.migration.command import parse
from maquette.config.migration.migrate import migrate
from maquette.config.migration.write import write
from maquette.config.presets import preset_names, preset_summary, preset_text
from maquette.config.schema import resolved

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
    "sd1-subject-lora-class-images": {
        "adapter.rank": 4,
        "optimizer.lr": 1e-4,
        "class_images.prompt": "a photo of dog",
        "class_images.count": 200,
        "class_images.weight": 1.0,
        "training.steps": 500,
    },
    "sd1-face-lora": {
        "model.base": "stablediffusionapi/cyberrealistic-41",
        "data.crop": "center",
        "preview.every": 2000,
        "training.steps": 2000,
        "schedule.cycles": 3,
    },
    "sd2-style-lora-pack": {
        "model.base": "stabilityai/stable-diffusion-2-1",
        "model.precision": "fp32",
        "data.resolution": 512,
        "data.buckets": False,
        "data.crop": "random",
        "data.flip": True,
        "data.captions.shuffle": True,
        "data.captions.flip_tag": "horizontal_flip",
        "data.captions.name_tag": True,
        "pack.trigger": "style_[name]",
        "pack.rank_per_concept": 32,
        "pack.sampler": "cycle",
        "adapter.kind": "lora",
        "adapter.dropout": 0.1,
        "adapter.targets": "attention",
        "adapter.init.kind": "gaussian",
        "adapter.lr_ratio.kind": "adaptive",
        "adapter.lr_ratio.gamma": 1.0,
        "adapter.lr_ratio.clamp": True,
        "adapter.lr_ratio.target": "A",
        "text_encoder.train": "lora",
        "text_encoder.targets": ("q_proj", "k_proj", "v_proj"),
        "denoiser_lr": 1e-5,
        "text_encoder_lr": 1e-5,
        "optimizer.kind": "adamw",
        "optimizer.betas": (0.9, 0.999),
        "optimizer.weight_decay": 0.01,
        "schedule.kind": "constant",
        "loss.weighting.kind": "uniform",
        "loss.noise_offset": 0.0,
        "training.steps": 40000,
        "training.batch_size": 1,
        "training.gradient_accumulation": 1,
        "training.seed": 123456,
        "training.max_grad_norm": 0.0,
        "checkpoints.every": 4000,
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
    "kandinsky22decoder-style-lora": {
        "adapter.rank": 4,
        "adapter.targets": "attention",
        "optimizer.lr": 1e-4,
        "optimizer.weight_decay": 0.0,
        "data.resolution": 768,
        "training.steps": 15000,
        "training.batch_size": 1,
        "training.gradient_accumulation": 4,
        "training.max_grad_norm": 1.0,
        "training.seed": 42,
        "training.gradient_checkpointing": False,
        "schedule.kind": "constant",
        "checkpoints.keep": 3,
        "preview.prompts": ("cute dragon creature",),
    },
    "kandinsky22decoder-style-full": {
        "adapter.kind": "full",
        "optimizer.lr": 1e-5,
        "data.resolution": 768,
        "training.steps": 15000,
        "training.gradient_accumulation": 4,
        "training.gradient_checkpointing": True,
        "training.seed": 42,
    },
    "maquette64-subject-lora-plus": {"adapter.lr_ratio.ratio": 16.0},
    "maquette64-subject-dora": {"adapter.kind": "dora", "adapter.rank": 16, "denoiser_lr": 5e-4},
    "maquette64-subject-lora-adaptive": {"adapter.lr_ratio.kind": "adaptive", "adapter.lr_ratio.target": "B"},
    "maquette64-subject-lora-text": {"text_encoder.train": "lora", "denoiser_lr": 5e-4, "text_encoder_lr": 2.5e-4},
    "maquette64-subject-lora-bank": {"is_bank": True, "pack.trigger": "[name]", "training.batch_size": 4},
    "maquette64-subject-lora-ga": {"adapter.init.batches": 64, "adapter.init.gamma": 16.0},
    "sdxl-style-lora-pivotal": {
        "adapter.rank": 8,
        "optimizer.kind": "prodigy",
        "tokens_lr": 1.0,
        "tokens.placeholders": {"TOK": 2},
        "tokens.init": "random",
        "tokens.stop": 0.5,
        "tokens.retraction": 0.1,
        "training.steps": 1000,
        "training.batch_size": 3,
        "loss.weighting.gamma": 5.0,
    },
    "sdxl-style-dora-pivotal": {"adapter.kind": "dora", "adapter.rank": 8, "training.steps": 3000, "tokens.stop": 0.5},
    "sd1-subject-inversion": {"adapter.kind": "none", "tokens_lr": 5e-3, "tokens.init": "word", "training.steps": 5000},
    "sdxl-face-lora": {
        "adapter.rank": 32,
        "class_images.count": 150,
        "optimizer.kind": "prodigy",
        "training.steps": 6 * 120,
    },
}

ADVANCED = """\
accelerate launch train_dreambooth_lora_sdxl_advanced.py \\
  --pretrained_model_name_or_path=stabilityai/stable-diffusion-xl-base-1.0 \\
  --pretrained_vae_model_name_or_path=madebyollin/sdxl-vae-fp16-fix --instance_data_dir=pictures \\
  --mixed_precision=bf16 --resolution=1024 --gradient_accumulation_steps=1 --gradient_checkpointing \\
  --train_text_encoder_ti --lr_scheduler=constant --lr_warmup_steps=0 --rank=32 --seed=0 --repeats=1 """

# The sources' settings as flags of the script they were run with; what these leave out is the script's default.
S4 = "python train_text_to_image_{}.py --dataset_name=pictures --resolution=768 --train_batch_size=1 "
S4 += "--gradient_accumulation_steps=4 --max_train_steps=15000 --max_grad_norm=1 --checkpoints_total_limit=3 "
S4 += '--lr_scheduler="constant" --lr_warmup_steps=0 --seed=42 --learning_rate='

S3_LORA = "python train_dreambooth_lora.py --pretrained_model_name_or_path=stable-diffusion-v1-5/stable-diffusion-v1-5 "
S3_LORA += "--instance_data_dir=pictures --resolution=512 --train_batch_size=1 --gradient_accumulation_steps=1 "
S3_LORA += (
    "--checkpointing_steps=100 --learning_rate=1e-4 --lr_scheduler=constant --lr_warmup_steps=0 --rank=4 --seed=0"
)

S3_FULL = "python -u train_dreambooth.py --pretrained_model_name_or_path=CompVis/stable-diffusion-v1-4 "
S3_FULL += "--instance_data_dir=pictures --resolution=512 --train_batch_size=1 --gradient_accumulation_steps=1 "
S3_FULL += "--learning_rate=5e-6 --lr_scheduler=constant --lr_warmup_steps=0"

S1_ICONS = ADVANCED.replace("--rank=32", "--rank=8") + "--train_batch_size=3 --learning_rate=1.0 --text_encoder_lr=1.0 "
S1_ICONS += "--optimizer=prodigy --train_text_encoder_ti_frac=0.5 --snr_gamma=5.0"

COMMANDS = {
    "playground-subject-lora-karras": "accelerate launch train_dreambooth_lora_sdxl.py --mixed_precision=bf16 "
    "--pretrained_model_name_or_path=playgroundai/playground-v2.5-1024px-aesthetic --instance_data_dir=pictures "
    "--resolution=1024 --train_batch_size=1 --gradient_accumulation_steps=4 --learning_rate=1e-4 --use_8bit_adam "
    "--lr_scheduler=constant --lr_warmup_steps=0 --max_train_steps=500 --gradient_checkpointing --seed=0",
    "sd1-subject-lora": f"{S3_LORA} --max_train_steps=500",
    "sd1-subject-lora-class-images": f"{S3_LORA} --max_train_steps=500 --with_prior_preservation "
    '--prior_loss_weight=1.0 --num_class_images=200 --class_data_dir=dogs --class_prompt="a photo of dog"',
    "sd1-subject-full": f"{S3_FULL} --max_train_steps=400",
    "sd1-subject-full-class-images": f"{S3_FULL} --max_train_steps=800 --with_prior_preservation "
    '--prior_loss_weight=1.0 --num_class_images=200 --class_data_dir=dogs --class_prompt="a photo of dog"',
    "kandinsky22decoder-style-lora": S4.format("decoder_lora") + "1e-04 --lora_rank=4",
    "kandinsky22decoder-style-full": S4.format("decoder") + "1e-05 --gradient_checkpointing",
    "kandinsky22prior-style-lora": S4.format("prior_lora") + "1e-04 --lora_rank=4",
    "kandinsky22prior-style-full": S4.format("prior") + "1e-05",
    "sdxl-style-lora-pivotal": f"{S1_ICONS} --max_train_steps=1000",
    "sdxl-style-dora-pivotal": f"{S1_ICONS} --max_train_steps=3000 --use_dora",
    "sdxl-subject-lora-pivotal": ADVANCED
    + "--train_batch_size=4 --learning_rate=1e-4 --text_encoder_lr=3e-4 --optimizer=adamw --snr_gamma=5.0 "
    "--max_train_steps=1000",
    "sdxl-style-lora-pivotal-web": ADVANCED
    + "--train_batch_size=4 --learning_rate=1e-4 --text_encoder_lr=3e-4 --optimizer=adamw --snr_gamma=5.0 "
    "--max_train_steps=1000 --repeats=2",
    # The betas and the decay are those S1 advises for Prodigy.
    "sdxl-face-lora-pivotal": ADVANCED
    + "--learning_rate=1.0 --text_encoder_lr=1.0 --optimizer=prodigy --adam_beta1=0.9 --adam_beta2=0.99 "
    "--adam_weight_decay=0.01 --prodigy_safeguard_warmup=True --prodigy_use_bias_correction=True "
    "--max_train_steps=720 --with_prior_preservation --num_class_images=150 --class_data_dir=people "
    '--class_prompt="a photo of a person"',
    "sd1-face-lora": "python train_text_to_image_lora.py --train_data_dir=faces --lora_rank=32 --lora_alpha=16 "
    "--pretrained_model_name_or_path=stablediffusionapi/cyberrealistic-41 --learning_rate=1e-4 --train_text_encoder "
    "--text_encoder_lr=1e-4 --lr_scheduler=cosine_with_restarts --lr_num_cycles=3 --lr_warmup_steps=100 "
    "--max_train_steps=2000 --snr_gamma=5 --train_batch_size=2 --resolution=512 --mixed_precision=bf16 --random_flip "
    "--center_crop --seed=1126",
}

# Commands without --center_crop ask for squares at random places. These recipes say that they do otherwise.
SHAPED = {"sd1-subject-lora", "sd1-subject-lora-class-images", "sd1-subject-full", "sd1-subject-full-class-images"}


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
    of_pack = config.pack is not None and config.pack.tokens_per_concept is not None
    assert (config.tokens is not None) == (method == "inversion" or "pivotal" in name or of_pack)
    others = {"kandinsky22decoder": (768,), "kandinsky22prior": (None,), "maquette64": (None,)}
    assert (
        config.data.resolution
        in {"sd1": (512,), "sd2": (512, 768), "sdxl": (1024,), "playground": (1024,), **others}[family]
    )


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_preset_has_the_numbers_of_its_document(name: str):
    config = load_config(preset=name)
    for path, expected in DOCUMENTED[name].items():
        value = config
        for part in path.split("."):
            value = getattr(value, part)
        assert value == expected, path


@pytest.mark.parametrize("name", COMMANDS)
def test_a_preset_is_what_its_sources_command_comes_to(name: str, tmp_path: Path):
    """Section by section; which pictures, and how often a run is looked at, are the user's own."""
    file = tmp_path / "run.toml"
    file.write_text(write(migrate(parse(COMMANDS[name], {}), lambda _: None), "a command", tmp_path))
    theirs, ours = (resolved(config, pictures=1) for config in (load_config(file), load_config(preset=name)))
    if theirs.class_images is not None:
        theirs = theirs.model_copy(update={"class_images": theirs.class_images.model_copy(update={"folder": None})})
    for section in ("model", "class_images", "adapter", "text_encoder", "tokens", "optimizer", "schedule", "loss"):
        assert getattr(ours, section) == getattr(theirs, section), section
    assert ours.training == theirs.training
    for key in ("repeats", "resolution", "flip"):
        assert getattr(ours.data, key) == getattr(theirs.data, key), key
    assert ("Pictures keep their shape" in preset_text(name)) == (name in SHAPED)
    cut = (False, "random") if name in SHAPED else (ours.data.buckets, ours.data.crop)
    assert (theirs.data.buckets, theirs.data.crop) == cut


def test_families_goals_and_methods_are_all_there():
    parts = [set(column) for column in zip(*(name.split("-")[:3] for name in preset_names()), strict=True)]
    families = {"sd1", "sd2", "sdxl", "playground", "maquette64", "kandinsky22decoder", "kandinsky22prior"}
    methods = {"lora", "dora", "full", "inversion"}
    assert parts == [families, {"subject", "style", "face"}, methods]


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_can_be_tried_in_a_few_steps(name: str):
    sets = ["training.steps=20", "data.folder=photos"]
    if "warmup_steps" in preset_layer(name).tree.get("schedule", {}):
        sets.append("schedule.warmup_steps=2")
    assert load_config(preset=name, sets=sets).training.steps == 20
