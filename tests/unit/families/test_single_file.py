import json
from importlib.resources import files

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors.torch import save_file
from tests.contract import tiny

from maquette.diffusion.scheduler import read_scheduler
from maquette.errors import ModelError
from maquette.families import ldm, parts, published, single_file
from maquette.families.load import load_family

PUBLISHED = ["sd1", "sd2", "sd2-v", "sdxl", "playground"]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return tiny.write_vocabulary(tmp_path_factory.mktemp("vocabulary"))


def written(family, file, **metadata):
    save_file(single_file.tensors_of(family), file, {**single_file.metadata_of(family), **metadata})
    return file


def same_weights(one, other):
    for name, module in one.modules.items():
        ours, theirs = module.state_dict(), other.modules[name].state_dict()
        assert ours.keys() == theirs.keys()
        assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


@pytest.mark.parametrize("kind", tiny.STABLE_DIFFUSION)
def test_a_written_file_is_read_back_whole(kind, tmp_path, vocabulary, caplog):
    family = tiny.RECIPES[kind]()
    loaded = load_family(written(family, tmp_path / "model.safetensors"), tokenizer=str(vocabulary))
    same_weights(family, loaded)
    assert caplog.records == []  # nothing in the file was left unread
    assert type(loaded) is type(family)
    prompt = ["a photo of sks dog !"]
    ours, theirs = family.tokenize(prompt), loaded.tokenize(prompt)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    level = (family.diffusion.path(torch.tensor([0.3])), loaded.diffusion.path(torch.tensor([0.3])))
    assert level[0].sigma == level[1].sigma
    affine = family.diffusion.parametrization(level[0]), loaded.diffusion.parametrization(level[1])
    assert affine[0].target_x0 == affine[1].target_x0


@pytest.mark.parametrize("kind", tiny.STABLE_DIFFUSION)
def test_diffusers_reads_the_same_weights_out_of_it(kind):
    family = tiny.RECIPES[kind]()
    file = single_file.tensors_of(family)
    unet = convert_ldm_unet_checkpoint(dict(file), family.unet.config)
    assert unet.keys() == family.unet.state_dict().keys()
    assert all(torch.equal(value, unet[name]) for name, value in family.unet.state_dict().items())
    vae = convert_ldm_vae_checkpoint(dict(file), family.vae.config)
    assert vae.keys() == family.vae.state_dict().keys()
    assert all(torch.equal(value, vae[name]) for name, value in family.vae.state_dict().items())


def test_diffusers_reads_the_same_text_encoders_out_of_it():
    family = tiny.sdxl()
    file = single_file.tensors_of(family)
    clip = convert_ldm_clip_checkpoint(dict(file))
    expected = {f"text_model.{name}": value for name, value in family.text_encoder.state_dict().items()}
    assert clip.keys() == expected.keys()
    assert all(torch.equal(value, clip[name]) for name, value in expected.items())
    # The fused projection is split by the projection's width there, so an encoder as wide as its projection is needed.
    words = tiny.tokenizer("!")
    wide = type(family.text_encoder_2)(tiny.text_config(words, projection_dim=32, hidden_act="gelu"))
    state = wide.state_dict()
    stored = ldm.stored(ldm.open_clip_places(wide, published.XL_OPEN_CLIP), state)
    theirs = convert_open_clip_checkpoint(wide, stored, prefix=published.XL_OPEN_CLIP)
    assert theirs.keys() == state.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in state.items())


def shipped(name):
    return json.loads((files("maquette.families") / "configs" / f"{name}.json").read_text())


# Parameters of the published denoisers and of OpenAI's text encoder, from the models themselves.
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("sd1", 859_520_964), ("sd2", 865_910_724), ("sd2-v", 865_910_724), ("sdxl", 2_567_463_684)],
)
def test_shipped_denoisers_are_the_published_ones(name, parameters):
    unet = parts.blank_unet(shipped(name)["unet"], name)
    assert sum(p.numel() for p in unet.parameters()) == parameters
    places = ldm.unet_places(unet, published.UNET)
    assert len({place.name for place in places.values()}) == len(places)
    converted = convert_ldm_unet_checkpoint(ldm.stored(places, unet.state_dict()), unet.config)
    assert {key: value.shape for key, value in converted.items()} == {k: v.shape for k, v in unet.state_dict().items()}


def test_the_shipped_autoencoder_has_the_names_that_diffusers_looks_for():
    vae = parts.blank_vae(shipped("sd1")["vae"], "sd1")
    assert sum(p.numel() for p in vae.parameters()) == 83_653_863
    converted = convert_ldm_vae_checkpoint(ldm.stored(ldm.vae_places(vae, published.VAE), vae.state_dict()), vae.config)
    assert {key: value.shape for key, value in converted.items()} == {k: v.shape for k, v in vae.state_dict().items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_shipped_configs_say_what_each_model_predicts_and_at_which_size(name):
    config = shipped(name)
    diffusion = read_scheduler(config["scheduler"], name)
    affine = diffusion.parametrization(diffusion.path(torch.tensor([0.999])))
    # Nearly pure noise: epsilon's target is the noise, v's the negated sample, EDM's the sample over its deviation.
    target = {"sd2-v": -1.0, "playground": 2.0}.get(name, 0.0)
    assert float(affine.target_x0) == pytest.approx(target, abs=0.02)
    side = {"sd1": 512, "sd2": 512, "sd2-v": 768}.get(name, 1024)
    assert config["unet"]["sample_size"] * 8 == side == config["vae"]["sample_size"]
    assert parts.blank_vae(config["vae"], name).config["scaling_factor"] == config["vae"]["scaling_factor"]
    assert len(config["text_encoders"]) == len(config["pad_tokens"])
    width = sum(encoder["hidden_size"] for encoder in config["text_encoders"])
    assert width == config["unet"]["cross_attention_dim"]


def test_openais_text_encoder_is_the_published_one():
    config = shipped("sd1")["text_encoders"][0]
    words = tiny.tokenizer()
    encoder = parts.blank_text_encoder(type(tiny.text_encoder(words)), config, words, "sd1")
    assert sum(p.numel() for p in encoder.parameters()) == 123_060_480


def header(shapes, tmp_path, **metadata):
    return published.Checkpoint(tmp_path / "model.safetensors", shapes, metadata)


UNET = {f"{published.UNET}input_blocks.0.0.weight": [320, 4, 3, 3]}
SD1 = {**UNET, f"{published.CLIP}text_model.final_layer_norm.weight": [768]}
SD2 = {**UNET, f"{published.OPEN_CLIP}transformer.resblocks.0.ln_1.weight": [1024]}
SDXL = {**UNET, f"{published.XL_OPEN_CLIP}transformer.resblocks.0.ln_1.weight": [1280]}


@pytest.mark.parametrize(
    ("shapes", "metadata", "width", "prediction"),
    [
        (SD1, {}, 768, "epsilon"),
        ({**SD1, "v_pred": [0]}, {}, 768, "v_prediction"),
        (SD2, {"modelspec.prediction_type": "epsilon"}, 1024, "epsilon"),
        (SD2, {"modelspec.prediction_type": "v"}, 1024, "v_prediction"),
        (SDXL, {}, 2048, "epsilon"),
        ({**SDXL, "v_pred": [0], "ztsnr": [0]}, {}, 2048, "v_prediction"),
        ({**SDXL, "edm_mean": [1, 4, 1, 1]}, {}, 2048, "epsilon"),
    ],
)
def test_published_models_are_told_by_their_tensors(shapes, metadata, width, prediction, tmp_path):
    config = published.published_config(header(shapes, tmp_path, **metadata))
    assert config["unet"]["cross_attention_dim"] == width
    assert config["scheduler"]["prediction_type"] == prediction
    assert config["scheduler"].get("rescale_betas_zero_snr", False) == ("ztsnr" in shapes)
    assert config["scheduler"]["_class_name"].startswith("EDM") == ("edm_mean" in shapes)


def test_a_yaml_beside_the_file_says_what_stable_diffusion_2_predicts(tmp_path):
    checkpoint = header(SD2, tmp_path)
    with pytest.raises(ModelError, match=r'model\.yaml beside it with the line parameterization: "v"'):
        published.published_config(checkpoint)
    (tmp_path / "model.yaml").write_text('model:\n  params:\n    parameterization: "v"\n')
    assert published.published_config(checkpoint)["unet"]["sample_size"] == 96
    (tmp_path / "model.yaml").write_text("model:\n  params:\n    linear_start: 0.00085\n")
    assert published.published_config(checkpoint)["scheduler"]["prediction_type"] == "epsilon"


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"lora_unet_down_blocks_0.lora_down.weight": [4, 320]}, "holds an adapter"),
        ({"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": [1, 1]}, "SD3 or Flux"),
        ({"down_blocks.0.resnets.0.conv1.weight": [1, 1]}, "one part of a diffusers folder"),
        ({"something.else": [1]}, "It holds: something.else"),
        ({f"{published.UNET}input_blocks.0.0.weight": [320, 9, 3, 3]}, "takes 9 channels"),
        ({**UNET, "conditioner.embedders.0.model.transformer.resblocks.0.ln_1.weight": [1280]}, "refiner"),
        (UNET, "no text encoder"),
    ],
)
def test_other_files_are_refused_by_what_they_are(shapes, message, tmp_path):
    with pytest.raises(ModelError, match=message):
        published.published_config(header(shapes, tmp_path))


def test_what_is_not_read_is_named(tmp_path, vocabulary, caplog):
    family = tiny.sd1()
    tensors = {**single_file.tensors_of(family), "model_ema.diffusion_modelx": torch.ones(1), "betas": torch.ones(3)}
    save_file(tensors, tmp_path / "model.safetensors", single_file.metadata_of(family))
    load_family(tmp_path / "model.safetensors", tokenizer=str(vocabulary))
    [record] = caplog.records
    assert "1 tensors are not read: model_ema.diffusion_modelx." in record.getMessage()


def test_missing_tensors_are_named(tmp_path, vocabulary):
    family = tiny.sd1()
    tensors = single_file.tensors_of(family)
    del tensors[f"{published.UNET}out.2.weight"]
    save_file(tensors, tmp_path / "model.safetensors", single_file.metadata_of(family))
    with pytest.raises(ModelError, match=r"UNet2DConditionModel lacks 1 of \d+ tensors: conv_out.weight"):
        load_family(tmp_path / "model.safetensors", tokenizer=str(vocabulary))


def test_without_a_vocabulary_the_cure_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"a single file has no vocabulary.*--tokenizer"):
        load_family(written(tiny.sd1(), tmp_path / "model.safetensors"))


def test_configs_in_a_written_file_hold_no_path_of_this_machine(tmp_path):
    loaded = load_family(tiny.save("sd1", tmp_path / "base"))
    assert str(tmp_path) not in json.dumps(single_file.metadata_of(loaded))


def test_a_denoiser_that_the_layout_has_no_names_for_is_refused():
    unet = tiny.unet(layers_per_block=(1, 2))
    assert isinstance(unet, UNet2DConditionModel)
    with pytest.raises(ModelError, match="no name for layers of this denoiser"):
        ldm.unet_places(unet, "")
