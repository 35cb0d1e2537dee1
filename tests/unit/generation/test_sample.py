import logging
import re

import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from PIL import Image
from tests.contract import tiny

from maquette.errors import ConfigError, DataError
from maquette.families.unet import sampler_config
from maquette.generation.files import read_settings, settings_of, to_image, write_picture
from maquette.generation.grid import write_grid
from maquette.generation.sample import Request, check_request, is_black, painter, to_picture
from maquette.generation.schedulers import EDM_SCHEDULERS, SCHEDULERS, with_scheduler

# diffusers' samplers hand torch's tensors to numpy in a way that numpy 2 will no longer take.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

DOG = Request(prompt="a photo of sks dog", seed=3, steps=2, guidance=7.5)


def painted(family, request=DOG):
    with painter(family) as paint:
        return paint(request)


@pytest.mark.parametrize("kind", tiny.STABLE_DIFFUSION)
def test_a_picture_is_the_pipelines_own(kind):
    family = tiny.RECIPES[kind]()
    picture = painted(family)
    pipeline = family.pipeline()
    pipeline.set_progress_bar_config(disable=True)
    pipeline.register_modules(scheduler=with_scheduler(pipeline.scheduler.config, None))
    rng = torch.Generator().manual_seed(3)
    [theirs] = pipeline(DOG.prompt, num_inference_steps=2, guidance_scale=7.5, generator=rng).images
    assert picture.dtype is torch.uint8
    assert picture.shape == (3, tiny.SIZE, tiny.SIZE)
    assert to_image(picture).tobytes() == theirs.tobytes()


def test_a_picture_does_not_depend_on_what_was_made_before():
    family = tiny.sd1()
    alone = painted(family)
    with painter(family) as paint:
        other = paint(Request(prompt="a cat", seed=4, steps=3, scheduler="euler_a", size=(24, 16)))
        assert other.shape == (3, 24, 16)
        torch.randn(7)  # a global generator that somebody else uses in between
        assert torch.equal(paint(DOG), alone)
        assert not torch.equal(paint(Request(prompt=DOG.prompt, seed=4, steps=2, guidance=7.5)), alone)


def test_every_setting_changes_the_picture():
    family, base = tiny.sd1(), {"prompt": "a photo of sks dog", "seed": 3, "steps": 2}
    settings = [{}, {"negative": "a cat"}, {"guidance": 2.0}, {"steps": 3}, {"scheduler": "ddim"}, {"prompt": "a cat"}]
    made = {painted(family, Request(**{**base, **change})).numpy().tobytes() for change in settings}
    assert len(made) == len(settings)


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_skipped_layers_are_skipped_in_pictures_too(kind):
    family = tiny.RECIPES[kind]()
    fields = {name: getattr(family, name) for name in family.__slots__}
    skipping = type(family)(**{**fields, "clip_skip": 1})
    names = list(family.text_encoder.state_dict())
    assert not torch.equal(painted(family), painted(skipping))
    assert list(family.text_encoder.state_dict()) == names
    ids = skipping.tokenize([DOG.prompt])
    pipeline, told = skipping.pipeline(), []
    if kind == "sd1":
        told = pipeline.encode_prompt(DOG.prompt, "cpu", 1, False, clip_skip=1)[0]
        assert torch.equal(told, skipping.embed_text(ids)["context"])


def test_an_empty_negative_prompt_means_zeros_where_the_checkpoint_says_so():
    family = tiny.sdxl()
    fields = {name: getattr(family, name) for name in family.__slots__}
    encoded = type(family)(**{**fields, "zero_negative": False})
    assert not torch.equal(painted(family), painted(encoded))


def test_models_in_half_precision_with_an_autoencoder_in_full_make_pictures():
    family = tiny.sdxl()
    for name, module in family.modules.items():
        if name != "vae":
            module.to(torch.bfloat16)
    assert family.vae.dtype is torch.float32
    assert not is_black(painted(family))


def test_modules_in_training_come_back_to_it():
    family = tiny.sd1()
    family.unet.train()
    with painter(family):
        assert not family.unet.training
    assert family.unet.training
    assert not family.vae.training


@pytest.mark.parametrize("spoiled", [float("nan"), float("inf")])
def test_a_picture_with_a_number_that_is_not_finite_is_black(spoiled):
    pixels = torch.rand(3, 8, 8)
    assert not is_black(to_picture(pixels))
    pixels[0, 0, 0] = spoiled
    assert is_black(to_picture(pixels))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (20, 16)}, "multiples of 8. Nearest: 16x16"),
        ({"size": (0, 16)}, "multiples of 8. Nearest: 8x16"),
        ({"steps": 0}, "at least 1 sampling step"),
        ({"guidance": 0.5}, "must be 1"),
        ({"scheduler": "eulr"}, 'Did you mean "euler"'),
        ({"scheduler": "edm"}, "Those that do: dpm"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        check_request(tiny.sd1(), Request(prompt="a cat", seed=0, **settings))


def test_what_a_long_prompt_loses_is_said_once(caplog):
    family, prompt = tiny.sd1(), "a cat " + "dog " * 80 + "beach"
    with caplog.at_level(logging.WARNING, "maquette"):
        for seed in (0, 1):
            check_request(family, Request(prompt=prompt, seed=seed))
    [record] = caplog.records
    assert 'more than the 75 tokens that the text encoder reads. Not read: "dog dog' in record.getMessage()
    assert 'dog beach"' in record.getMessage()


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_every_sampler_makes_a_picture(name):
    picture = painted(tiny.sd1(), Request(prompt="a cat", seed=0, steps=4, scheduler=name))
    assert not is_black(picture)


@pytest.mark.parametrize(
    ("kind", "usual", "other"), [("sdxl", 5.0, 3.0), ("playground", 3.0, 5.0), ("kandinsky-decoder", 4.0, 5.0)]
)
def test_guidance_that_nobody_names_is_what_is_usual_for_the_base(kind, usual, other):
    family, asked = tiny.RECIPES[kind](), {"prompt": "a cat", "seed": 0, "steps": 2}
    with painter(family) as paint:
        made = paint(Request(**asked))
        assert torch.equal(made, paint(Request(**asked, guidance=usual)))
        assert not torch.equal(made, paint(Request(**asked, guidance=other)))


@pytest.mark.parametrize("name", list(EDM_SCHEDULERS))
def test_every_sampler_for_edm_makes_a_picture(name):
    assert not is_black(painted(tiny.playground(), Request(prompt="a cat", seed=0, steps=4, scheduler=name)))
    with pytest.raises(ConfigError, match=re.escape(f"Those that do: {', '.join(EDM_SCHEDULERS)}.")):
        with_scheduler(sampler_config(tiny.playground().scheduler), "ddim")


def test_samplers_keep_what_the_checkpoint_was_trained_for():
    config = sampler_config(tiny.ddim(prediction_type="v_prediction", rescale_betas_zero_snr=True))
    for name in ("ddim", "euler", "dpm++"):
        made = with_scheduler(config, name).config
        assert made["prediction_type"] == "v_prediction"
        assert made["beta_end"] == 0.012
        assert made["timestep_spacing"] == "trailing"


def test_a_samplers_own_settings_win_over_what_the_checkpoint_leaves_unset():
    config = sampler_config(DPMSolverMultistepScheduler())
    assert with_scheduler(config, "dpm++karras").config["use_karras_sigmas"]
    assert with_scheduler(config, "dpm++sde").config["algorithm_type"] == "sde-dpmsolver++"


def test_learned_variances_stay_with_the_one_sampler_that_takes_them():
    config = {**DDPMScheduler(variance_type="learned_range").config, "_class_name": "DDPMScheduler"}
    assert with_scheduler(config, "ddpm").config["variance_type"] == "learned_range"
    for name in ("dpm++", "ddim"):
        assert with_scheduler(config, name).config.get("variance_type") is None


def test_a_pipeline_that_scales_no_input_gets_no_sampler_that_needs_it():
    config = sampler_config(tiny.ddim())
    with pytest.raises(ConfigError, match=r"Those that do: dpm[+][+], dpm[+][+]karras, dpm[+][+]sde, ddim, ddpm"):
        with_scheduler(config, "euler", scales_input=False)


def test_a_base_without_a_prior_refuses_its_settings():
    with pytest.raises(ConfigError, match="has no prior"):
        check_request(tiny.sd1(), Request(prompt="a cat", seed=0, prior_guidance=2.0))


def test_a_file_says_how_it_was_made_and_has_the_same_bytes_again(tmp_path):
    picture = torch.arange(3 * 8 * 8, dtype=torch.uint8).reshape(3, 8, 8)
    settings = settings_of(Request(prompt="ein Hund \u2603", seed=5, negative="a cat"), {"base": "tiny"})
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name, picture, settings)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert read_settings(tmp_path / "a.png") == settings
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["prompt"] == "ein Hund \u2603"
        assert image.info["negative prompt"] == "a cat"
        assert image.info["seed"] == "5"
        assert image.tobytes() == to_image(picture).tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_files_of_others_are_told_apart(content, tmp_path):
    file = tmp_path / "other.png"
    if content is None:
        Image.new("RGB", (8, 8)).save(file)
    else:
        file.write_bytes(content)
    with pytest.raises(DataError, match="no picture that maquette made"):
        read_settings(file)


def test_a_grid_shows_every_picture_unsmoothed_under_its_prompt(tmp_path):
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    red, green, blue = (Image.new("RGB", (64, 64), colour) for colour in colours)
    write_grid(tmp_path / "grid.png", [("red and green", [red, green]), ("word " * 60, [blue])])
    with Image.open(tmp_path / "grid.png") as grid:
        counted = {colour: n for n, colour in grid.getcolors(maxcolors=10_000)}
        darkest, _ = grid.convert("L").crop((0, 0, grid.width, 24)).getextrema()
    assert [counted[colour] for colour in colours] == [192 * 192] * 3
    assert darkest < 64  # the prompt is written above its row
