"""Commands of other trainers, migrated: the reference documents' own, kohya's files, units, and what is left behind."""

import tomllib
from pathlib import Path

import pytest

from maquette.cli.app import main
from maquette.config.foreign import REFERENCE
from maquette.config.keys import keys, tables
from maquette.config.kohya import KOHYA
from maquette.config.load import load_config
from maquette.config.migration.command import Command, Given, parse
from maquette.config.migration.kohya_rules import KOHYA_RULES
from maquette.config.migration.migrate import Migrated, migrate
from maquette.config.migration.plan import Remark
from maquette.config.migration.rules import RULES
from maquette.config.migration.scripts import SCRIPTS
from maquette.config.migration.write import write
from maquette.config.presets import preset_text
from maquette.config.schema import RunConfig
from maquette.errors import ConfigError

S1 = """\
export MODEL_NAME="stabilityai/stable-diffusion-xl-base-1.0"
export VAE_PATH="madebyollin/sdxl-vae-fp16-fix"
export DATASET_NAME="someone/3d_icon"
export OUTPUT_DIR="3d-icon-SDXL-LoRA"
accelerate launch train_dreambooth_lora_sdxl_advanced.py \\
  --pretrained_model_name_or_path=$MODEL_NAME \\
  --pretrained_vae_model_name_or_path=$VAE_PATH \\
  --dataset_name=$DATASET_NAME \\
  --instance_prompt="3d icon in the style of TOK" \\
  --validation_prompt="a TOK icon of an astronaut riding a horse, in the style of TOK" \\
  --output_dir=$OUTPUT_DIR \\
  --caption_column="prompt" \\
  --mixed_precision="bf16" \\
  --resolution=1024 \\
  --train_batch_size=3 \\
  --repeats=1 \\
  --report_to="wandb"\\
  --gradient_accumulation_steps=1 \\
  --gradient_checkpointing \\
  --learning_rate=1.0 \\
  --text_encoder_lr=1.0 \\
  --optimizer="prodigy"\\
  --train_text_encoder_ti\\
  --train_text_encoder_ti_frac=0.5\\
  --snr_gamma=5.0 \\
  --lr_scheduler="constant" \\
  --lr_warmup_steps=0 \\
  --rank=8 \\
  --max_train_steps=1000 \\
  --checkpointing_steps=2000 \\
  --seed="0" \\

"""

# S2 sets these as variables of a notebook; these are the flags of the same names and values.
S2 = """\
python train_text_to_image_lora.py --pretrained_model_name_or_path=stablediffusionapi/cyberrealistic-41 \\
  --train_data_dir=faces --lora_rank=32 --lora_alpha=16 --learning_rate=1e-4 --train_text_encoder \\
  --text_encoder_lr=1e-4 --lr_scheduler=cosine_with_restarts --lr_num_cycles=3 --lr_warmup_steps=100 \\
  --max_train_steps=200 --validation_step_ratio=1 --snr_gamma=5 --train_batch_size=2 --resolution=512 \\
  --mixed_precision=bf16 --random_flip --center_crop --seed=1126
"""

S3_FULL = """\
export MODEL_NAME="CompVis/stable-diffusion-v1-4"
python -u {launcher}train_dreambooth.py \\
  --pretrained_model_name_or_path=$MODEL_NAME  --instance_data_dir=./dream_image --output_dir=./dream_outputs \\
  {more} --instance_prompt="a photo of sks dog" --resolution=512 --train_batch_size=1 \\
  --gradient_accumulation_steps=1 --learning_rate=5e-6 --lr_scheduler="constant" --lr_warmup_steps=0 {length}
"""
S3_CLASS = (
    "--class_data_dir=./dream_class_image --with_prior_preservation --prior_loss_weight=1.0 "
    '--class_prompt="a photo of dog"'
)
S3_LORA = """\
export MODEL_NAME="runwayml/stable-diffusion-v1-5"
python train_dreambooth_lora.py --pretrained_model_name_or_path=$MODEL_NAME \\
  --instance_data_dir=path-to-instance-images --output_dir=path-to-save-model \\
  --instance_prompt="a photo of sks dog" --resolution=512 --train_batch_size=1 --gradient_accumulation_steps=1 \\
  --checkpointing_steps=100 --learning_rate=1e-4 --report_to="visualdl" --lr_scheduler="constant" \\
  --lr_warmup_steps=0 --max_train_steps=500 --validation_prompt="A photo of sks dog in a bucket" \\
  --validation_epochs=50 --lora_rank=4 --seed=0
"""

S4 = """\
export DATASET_NAME="lambdalabs/pokemon-blip-captions"
python -u train_text_to_image_{script}.py --dataset_name=$DATASET_NAME --resolution=768 --train_batch_size=1 \\
  --gradient_accumulation_steps=4 {more} --max_train_steps=15000 --learning_rate={lr} --max_grad_norm=1 \\
  --checkpoints_total_limit=3 --lr_scheduler="constant" --lr_warmup_steps=0 --seed=42 \\
  --output_dir="kandi2-{script}-pokemon-model"
"""

KOHYA_SETTINGS = """\
[model]
pretrained_model_name_or_path = "runwayml/stable-diffusion-v1-5"
clip_skip = 2

[network]
network_module = "lycoris.kohya"
network_dim = 32
network_alpha = 16
network_args = ["algo=loha", "conv_dim=32"]

[learning]
optimizer_type = "AdamW8bit"
unet_lr = 1e-4
text_encoder_lr = 5e-5
min_snr_gamma = 5
max_train_epochs = 3
save_precision = "fp16"
color_aug = true
brand_new_flag = 7
"""

KOHYA_DATA = """\
[general]
shuffle_caption = true
keep_tokens = 1

[[datasets]]
resolution = 768
batch_size = 2
enable_bucket = true

  [[datasets.subsets]]
  image_dir = "dogs"
  class_tokens = "sks dog"
  num_repeats = 4
"""


def nothing_here(_: Path) -> int | None:
    return None


def migrated(text: str, pictures: int | None = None) -> Migrated:
    return migrate(parse(text, {}), lambda _: pictures)


def loaded(result: Migrated, folder: Path) -> RunConfig:
    """The configuration that the written file reads back as."""
    file = folder / "run.toml"
    file.write_text(write(result, "a command", folder), encoding="utf-8")
    return load_config(file)


def said(result: Migrated, word: str) -> Remark:
    (remark,) = [each for each in result.remarks if word in each.said]
    return remark


def test_s1_the_advanced_sdxl_run(tmp_path: Path):
    result = migrated(S1)
    config = loaded(result, tmp_path)
    assert config.model.base == "stabilityai/stable-diffusion-xl-base-1.0"
    assert (config.model.vae, config.model.precision) == ("madebyollin/sdxl-vae-fp16-fix", "bf16")
    assert (config.data.dataset, config.data.caption_column) == ("someone/3d_icon", "prompt")
    assert (config.adapter.kind, config.adapter.rank, config.adapter.lora_alpha) == ("lora", 8, 8.0)
    assert (config.optimizer.kind, config.optimizer.lr) == ("prodigy", 1.0)
    assert (config.optimizer.betas, config.optimizer.weight_decay) == ((0.9, 0.999), 1e-4)  # the script's defaults
    assert config.tokens is not None
    assert (config.tokens.placeholders, config.tokens.stop) == ({"TOK": 2}, 0.5)
    assert config.tokens.retraction == 0.1  # which no flag says
    assert (config.loss.weighting.kind, config.loss.weighting.gamma) == ("min_snr", 5.0)
    assert (config.training.steps, config.training.batch_size, config.training.seed) == (1000, 3, 0)
    assert config.training.gradient_checkpointing
    assert config.checkpoints.every == 2000
    assert config.preview.prompts == ("a TOK icon of an astronaut riding a horse, in the style of TOK",)
    assert config.logging.trackers == ("wandb",)
    assert config.output.dir == tmp_path.parent.joinpath(config.output.dir)
    assert {remark.said.partition("=")[0] for remark in result.remarks} == {"--instance_prompt", "--text_encoder_lr"}


def test_s2_the_face_lora(tmp_path: Path):
    config = loaded(migrated(S2), tmp_path)
    assert (config.adapter.rank, config.adapter.lora_alpha) == (32, 16.0)
    assert (config.text_encoder.train, config.text_encoder.lr, config.denoiser_lr) == ("lora", 1e-4, 1e-4)
    assert (config.schedule.kind, config.schedule.cycles, config.schedule.warmup_steps) == (
        "cosine_with_restarts",
        3,
        100,
    )
    assert (config.training.steps, config.preview.every) == (200, 200)
    assert (config.data.flip, config.data.crop, config.data.resolution) == (True, "center", 512)
    assert (config.training.seed, config.training.batch_size, config.loss.weighting.kind) == (1126, 2, "min_snr")


@pytest.mark.parametrize("launcher", ["", '-m paddle.distributed.launch --gpus "0,1,2,3" '])
def test_s3_all_weights(launcher: str, tmp_path: Path):
    result = migrated(S3_FULL.format(launcher=launcher, more="", length="--max_train_steps=400"))
    config = loaded(result, tmp_path)
    assert config.adapter.kind == "full"
    assert (config.denoiser_lr, config.training.steps, config.training.batch_size) == (5e-6, 400, 1)
    assert (config.data.prompt, config.data.resolution) == ("a photo of sks dog", 512)
    assert config.class_images is None
    assert config.data.folder is not None
    assert config.data.folder.resolve() == Path("dream_image").resolve()
    assert result.remarks == ()


def test_s3_with_class_images(tmp_path: Path):
    text = S3_FULL.format(launcher="", more=S3_CLASS, length="--num_class_images=200 --max_train_steps=800")
    images = loaded(migrated(text), tmp_path).class_images
    assert images is not None
    assert (images.prompt, images.count, images.weight) == ("a photo of dog", 200, 1.0)
    assert images.folder is not None
    assert images.folder.name == "dream_class_image"


def test_s3_lora(tmp_path: Path):
    result = migrated(S3_LORA, pictures=5)
    config = loaded(result, tmp_path)
    assert (config.adapter.kind, config.adapter.rank, config.denoiser_lr) == ("lora", 4, 1e-4)
    assert (config.training.steps, config.checkpoints.every) == (500, 100)
    assert config.preview.every == 250  # 50 passes over 5 pictures
    assert "visualdl" in said(result, "report_to").why
    assert said(migrated(S3_LORA), "validation_epochs").status == "open"


@pytest.mark.parametrize(
    ("script", "lr", "more", "kind"),
    [
        ("decoder", 1e-5, "--gradient_checkpointing", "full"),
        ("prior", 1e-5, "", "full"),
        ("decoder_lora", 1e-4, '--lora_rank=4 --validation_prompt="cute dragon creature"', "lora"),
        ("prior_lora", 1e-4, '--lora_rank=4 --validation_prompt="cute dragon creature"', "lora"),
    ],
)
def test_s4_kandinsky(script: str, lr: float, more: str, kind: str, tmp_path: Path):
    config = loaded(migrated(S4.format(script=script, lr=lr, more=more)), tmp_path)
    half = script.partition("_")[0]
    assert config.model.base == f"kandinsky-community/kandinsky-2-2-{half}"
    others = {"prior": config.model.decoder, "decoder": config.model.prior}
    assert others[half] == f"kandinsky-community/kandinsky-2-2-{'decoder' if half == 'prior' else 'prior'}"
    assert (config.adapter.kind, config.denoiser_lr) == (kind, lr)
    assert (config.training.steps, config.training.gradient_accumulation, config.training.seed) == (15000, 4, 42)
    assert config.data.dataset == "lambdalabs/pokemon-blip-captions"
    assert config.data.resolution == (768 if half == "decoder" else None)
    assert config.checkpoints.keep == 3
    if kind == "lora":
        assert (config.adapter.rank, config.preview.prompts) == (4, ("cute dragon creature",))


def test_kohyas_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dogs").mkdir()
    for number in range(5):
        (tmp_path / f"dogs/{number}.png").touch()
    (tmp_path / "data.toml").write_text(KOHYA_DATA)
    (tmp_path / "run.toml").write_text(f'dataset_config = "data.toml"\n{KOHYA_SETTINGS}')
    assert main(["migrate", "run.toml", "--out", "sub/ours.toml"]) == 0
    told = capsys.readouterr().err
    config = load_config(tmp_path / "sub/ours.toml")
    assert config.data.folder is not None
    assert config.data.folder.resolve() == (tmp_path / "dogs").resolve()
    assert (config.data.prompt, config.data.repeats, config.data.resolution) == ("sks dog", 4, 768)
    assert (config.data.captions.shuffle, config.data.captions.keep_tokens, config.data.buckets) == (True, 1, True)
    assert (config.adapter.kind, config.adapter.rank, config.adapter.lora_alpha) == ("loha", 32, 16.0)
    assert config.adapter.targets == "attention+feed_forward+convolutions"
    assert (config.optimizer.kind, config.denoiser_lr) == ("adamw8bit", 1e-4)
    assert (config.text_encoder.train, config.text_encoder_lr) == ("lora", 5e-5)
    assert config.training.steps == 3 * 10  # 5 pictures, 4 times, by 2
    assert (config.model.clip_skip, config.output.precision) == (1, "fp16")
    assert "Refused: color_aug = True" in told
    assert "Not known: brand_new_flag = 7" in told
    assert "brand_new_flag" in (tmp_path / "sub/ours.toml").read_text()
    assert main(["migrate", "run.toml", "--out", "sub/ours.toml"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_several_subsets_of_kohya_are_concepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    second = '[[datasets.subsets]]\nimage_dir = "cats"\nclass_tokens = "sks cat"\n'
    (tmp_path / "data.toml").write_text(KOHYA_DATA + second)
    assert main(["migrate", str(tmp_path / "data.toml")]) == 0
    config = RunConfig.model_validate(tomllib.loads(capsys.readouterr().out))
    assert [(each.folder.name, each.prompt, each.repeats) for each in config.concepts] == [
        ("dogs", "sks dog", 4),
        ("cats", "sks cat", 1),
    ]


def test_a_kohya_command(tmp_path: Path):
    text = (
        "accelerate launch --num_cpu_threads_per_process=2 sdxl_train_network.py --train_data_dir=pics "
        "--pretrained_model_name_or_path=sdxl.safetensors --network_module=networks.lora --network_train_unet_only "
        "--optimizer_type=Prodigy --optimizer_args d_coef=2 weight_decay=0.05 --learning_rate=1 --clip_skip=2 "
        "--reg_data_dir=reg --prior_loss_weight=0.5 --output_dir=out --output_name=dog --max_train_steps=700"
    )
    result = migrated(text)
    config = loaded(result, tmp_path)
    assert (config.adapter.rank, config.adapter.lora_alpha) == (4, 1.0)  # what kohya takes by itself
    assert (config.optimizer.kind, config.optimizer.d_coef, config.optimizer.weight_decay) == ("prodigy", 2.0, 0.05)
    assert not config.optimizer.safeguard_warmup
    assert (config.data.resolution, config.data.buckets) == (1024, False)
    assert (config.text_encoder.train, config.model.clip_skip) == ("none", 0)
    assert config.class_images is not None
    assert config.class_images.weight == 0.5
    assert config.output.dir is not None
    assert config.output.dir.parts[-2:] == ("out", "dog")
    assert said(result, "clip_skip").status == "needless"
    assert said(result, "num_cpu_threads_per_process").status == "needless"


def test_units_are_converted():
    base = "python train_dreambooth_lora.py --instance_data_dir=x "
    more = "--train_batch_size=2 --gradient_accumulation_steps=3 --repeats=2 --scale_lr --learning_rate=1e-4 "
    result = migrated(f"{base}{more}--num_train_epochs=10 --offset_noise", pictures=7)
    values = {key: setting.value for key, setting in result.settings.items()}
    assert values["training.steps"] == 10 * 3  # 14 pictures: 7 batches: 3 steps
    assert values["optimizer.lr"] == pytest.approx(6e-4)
    assert values["loss.noise_offset"] == 0.1
    full = migrated(f"{base} --height=512 --width=768 --resolution=512 --max_train_steps=9 --lr_scheduler=linear")
    assert full.settings["data.size"].value == [512, 768]
    assert "data.resolution" not in full.settings
    classes = migrated(f"{base}{more}--num_train_epochs=1 --with_prior_preservation --class_prompt=dog", pictures=7)
    assert classes.settings["training.steps"].value == 17  # 100 class images: 50 batches: 17 steps


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        ("--bogus_flag=3", "unknown", "no flag of this name"),
        ("--allow_tf32", "refused", "bf16"),
        ("--enable_xformers_memory_efficient_attention", "needless", "torch's own"),
        ("--resolution=large", "open", "data.resolution"),
        ("--do_edm_style_training", "needless", "predicts noise it changes nothing"),
        ("--class_prompt=dog", "needless", "with_prior_preservation"),
        ("--lr_scheduler=piecewise_constant", "unknown", "cosine_with_restarts"),
        ("--resolution=500", "open", "multiple of 8"),
        ("--text_encoder_lr=1e-5", "needless", "trained"),
        ("--num_train_epochs=4", "open", "training.steps"),
        ("--lr_scheduler=cosine --lr_warmup_steps=90 --max_train_steps=50", "open", "only 50 steps"),
    ],
)
def test_what_is_not_taken_over_is_named(flags: str, status: str, words: str):
    result = migrated(f"python train_dreambooth_lora.py --instance_data_dir=x {flags}")
    remarks = [
        remark for remark in result.remarks if flags.split()[-1].split("=")[0] in remark.said or words in remark.why
    ]
    assert any(remark.status == status and words in remark.why for remark in remarks)
    assert words in write(result, "a command", Path()).replace("\n#   ", " ")


@pytest.mark.parametrize(
    ("flags", "weighting", "levels"),
    [
        ("--edm_weighting=none --edm_sigma=karras_uniform", "uniform_x0", "karras"),
        ("--edm_weighting=soft --edm_sigma=lognormal", "soft_min_snr", "lognormal"),
    ],
)
def test_edm_style_training_keeps_its_weights_and_levels(flags: str, weighting: str, levels: str):
    result = migrated(f"python train_dreambooth_lora_sdxl.py --instance_data_dir=x {flags}")
    assert result.settings["loss.weighting.kind"].value == weighting
    assert result.settings["loss.noise_levels.kind"].value == levels


@pytest.mark.parametrize(
    ("script", "base", "is_edm"),
    [
        ("train_dreambooth_lora_sdxl", "playgroundai/playground-v2.5-1024px-aesthetic", True),
        ("train_dreambooth_lora_sdxl_advanced", "{local}", True),
        ("train_dreambooth_lora_sdxl", "stabilityai/stable-diffusion-xl-base-1.0", False),
        ("train_text_to_image_lora_sdxl", "playgroundai/playground-v2.5-1024px-aesthetic", False),
    ],
)
@pytest.mark.parametrize("flag", ["", "--do_edm_style_training"])
def test_a_base_of_edm_is_trained_by_its_formulas_where_the_script_does_so(tmp_path, script, base, is_edm, flag):
    scheduler = tmp_path / "scheduler" / "scheduler_config.json"
    scheduler.parent.mkdir()
    scheduler.write_text('{"_class_name": "EDMEulerScheduler"}')
    command = f"python {script}.py --pretrained_model_name_or_path={base.format(local=tmp_path)} {flag}"
    found = {key: setting.value for key, setting in migrated(command).settings.items() if key.startswith("loss.")}
    assert found == ({"loss.weighting.kind": "uniform_x0", "loss.noise_levels.kind": "karras"} if is_edm else {})


@pytest.mark.parametrize(
    ("command", "buckets", "crop"),
    [
        ("train_dreambooth.py", False, "random"),
        ("train_text_to_image_lora_sdxl.py --center_crop", False, "center"),
        ("train_dreambooth_lora.py --height=512 --width=768", False, None),
        ("train_text_to_image_decoder.py", False, None),
        ("train_text_to_image_prior_lora.py", None, None),
    ],
)
def test_pictures_are_cut_as_the_script_cuts_them(command: str, buckets: bool | None, crop: str | None):
    settings = migrated(f"python {command}").settings
    assert [settings[key].value if key in settings else None for key in ("data.buckets", "data.crop")] == [
        buckets,
        crop,
    ]


@pytest.mark.parametrize(("steps", "pictures"), [(15000, 4), (2000, 1), (120_000, 1)])
def test_an_average_ends_with_half_of_it_where_the_scripts_has_half(steps: int, pictures: int):
    """Against the decays that diffusers gives each step: how far back from the end half of the weight lies."""
    from diffusers.training_utils import EMAModel

    theirs = EMAModel([], decay=0.9999)
    older, back = 1.0, 0
    while older > 0.5:
        older *= theirs.get_decay(steps - back)
        back += 1
    more = f"--gradient_accumulation_steps={pictures} --train_batch_size=1"
    result = migrated(f"python train_text_to_image_decoder.py --use_ema --max_train_steps={steps} {more}")
    half_life = result.settings["training.ema.half_life_images"].value
    assert half_life == pytest.approx(back * pictures, rel=0.05)
    assert said(result, "--use_ema").status == "open"
    assert f"{half_life:g}; half_life_images" in said(result, "--use_ema").why


def test_an_average_of_a_run_of_unknown_length_is_left_to_a_person():
    result = migrated("python train_text_to_image_decoder.py --use_ema --num_train_epochs=3")
    assert "training.ema" in result.settings
    assert "training.ema.half_life_images" not in result.settings
    assert "7 %" in said(result, "--use_ema").why


def test_the_recipe_names_the_average_that_its_command_comes_to():
    result = migrated(S4.format(script="decoder", lr=1e-5, more="--gradient_checkpointing --use_ema"))
    half_life = result.settings["training.ema.half_life_images"].value
    assert f"training.ema.half_life_images={half_life:g} " in preset_text("kandinsky22decoder-style-full")


def test_a_key_of_another_kind_is_named():
    result = migrated("python train_dreambooth.py --instance_data_dir=x --rank=8 --max_train_steps=9")
    assert "adapter.rank" not in result.settings
    assert said(result, "--rank").status == "needless"


def test_one_migration_leaves_nothing_for_the_next():
    text = "python train_dreambooth.py --instance_data_dir=x --max_train_steps=9 --with_prior_preservation"
    one = migrated(f"{text} --class_prompt=dog --num_class_images=7")
    two = migrated(f"{text} --class_prompt=cat")
    assert one.settings["class_images.count"].value == 7
    assert two.settings["class_images"].value == REFERENCE["Prior preservation"]["with_prior_preservation"].on == {}


def test_secrets_are_not_copied():
    result = migrated("python train_dreambooth.py --instance_data_dir=x --hub_token=hf_abcdef --max_train_steps=9")
    assert "hf_abcdef" not in write(result, "a command", Path())
    assert said(result, "hub_token").status == "needless"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("python train_dreambooth.py --instance_data_dir=$PHOTOS", "PHOTOS is not set"),
        ("python train_flux.py --rank=4", "train_dreambooth_lora.py"),
        ("maquette train", "no training command"),
        ("python train_db.py dogs --seed=1", "belongs to no flag"),
        ("python train_db.py --seed=1\npython train_db.py --seed=2", "2 training commands"),
        ('python train_db.py --prompt="a dog', "No closing quotation"),
    ],
)
def test_what_cannot_be_read_is_explained(text: str, words: str):
    with pytest.raises(ConfigError, match=words.replace(".", r"\.")):
        migrated(text)


@pytest.mark.parametrize("behind", [["--"], []])
def test_words_behind_the_command(behind: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = "accelerate launch train_dreambooth_lora_sdxl.py --instance_data_dir pics --rank 8 --max_train_steps=70"
    assert main(["migrate", *behind, *words.split()]) == 0
    (tmp_path / "run.toml").write_text(capsys.readouterr().out)
    config = load_config(tmp_path / "run.toml")
    assert (config.adapter.rank, config.training.steps, config.denoiser_lr) == (8, 70, 1e-4)


def test_every_flag_of_the_table_is_taken_or_named():
    """Each flag alone: a setting among the keys that the table names, or a remark that names the flag."""
    for trainer, groups in (("diffusers", REFERENCE), ("kohya", KOHYA)):
        script = SCRIPTS["train_dreambooth_lora" if trainer == "diffusers" else "train_network"]
        for name, entry in ((name, entry) for group in groups.values() for name, entry in group.items()):
            if name in ("config_file", "dataset_config"):
                continue
            value = next(iter(entry.words), "1")
            command = Command(script, {name: Given(name, (value,), f"--{name}={value}")})
            result = migrate(command, nothing_here)
            ours = {key for key, setting in result.settings.items() if f"--{name}" in setting.said}
            told = [remark for remark in result.remarks if f"--{name}" in remark.said]
            assert ours or told or name == "scale_lr", name  # which the rate says
            assert entry.status == "mapped" or name in RULES or not ours, name


def test_rules_are_for_flags_of_the_table_and_set_keys_that_exist():
    names = {name for group in (*REFERENCE.values(), *KOHYA.values()) for name in group}
    assert RULES.keys() | KOHYA_RULES.keys() <= names
    known = {key.path for key in keys()} | set(tables())
    named = {key for group in KOHYA.values() for entry in group.values() for key in (*entry.keys, *entry.also)}
    assert named <= known
