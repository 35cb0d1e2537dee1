import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.contract import tiny

from maquette.errors import ConfigError, ModelError
from maquette.families import load
from maquette.families.load import load_family
from maquette.families.placement import LARGE, choose_device, choose_dtype


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders that tests copy and spoil: Stable Diffusion, SDXL and Playground."""
    return {kind: tiny.save(kind, tmp_path_factory.mktemp(kind)) for kind in ("sd1", "sdxl", "playground")}


@pytest.fixture
def folder(saved, tmp_path):
    return Path(shutil.copytree(saved["sd1"], tmp_path / "base"))


def weights(folder, part="unet"):
    [file] = (folder / part).glob("*.safetensors")
    return file


def edit(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_the_embedded_name_is_a_folder_inside_the_package():
    assert all(Path(load.__file__).parent.parent in path.parents for path in load.EMBEDDED.values())


def test_what_a_model_needs_is_imported_only_when_it_is_used():
    assert all(":" in where and where.startswith("maquette.families.") for where in load.FAMILIES.values())
    assert load.loader("StableDiffusionPipeline").__module__ == "maquette.families.sd"


def test_other_packages_can_add_families(monkeypatch):
    class Point:
        name, value = "OtherPipeline", "maquette.families.sdxl:load"

    monkeypatch.setattr(load, "entry_points", lambda group: [Point] if group == "maquette.families" else [])
    assert load.loader("OtherPipeline").__module__ == "maquette.families.sdxl"


def test_old_configs_pool_at_the_tokenizers_end(saved, tmp_path):
    folder = Path(shutil.copytree(saved["sdxl"], tmp_path / "old"))
    edit(folder / "text_encoder_2" / "config.json", eos_token_id=2)
    family = load_family(folder)
    assert family.text_encoder_2.config.eos_token_id == family.tokenizer_2.eos_token_id != 2
    assert family.text_encoder_2.text_model.eos_token_id == family.tokenizer_2.eos_token_id


def test_old_names_of_the_autoencoders_attention_are_read(folder):
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    file, renamed = weights(folder, "vae"), {}
    for name, tensor in load_file(file).items():
        for new, before in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{before}.")
        renamed[name] = tensor
    expected = load_file(file)
    save_file(renamed, file)
    assert renamed.keys() != expected.keys()
    state = load_family(folder).vae.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_text_encoders_are_read_with_and_without_their_prefix(folder):
    file = weights(folder, "text_encoder")
    state = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in load_file(file).items()}
    save_file({**state, "text_model.embeddings.position_ids": torch.arange(77)[None]}, file)
    loaded = load_family(folder).text_encoder.state_dict()
    assert all(torch.equal(loaded[name.removeprefix("text_model.")], tensor) for name, tensor in state.items())


def test_weights_in_several_files_are_read(folder):
    file = weights(folder)
    tensors = sorted(load_file(file).items())
    file.unlink()
    for i in (1, 2):
        save_file(dict(tensors[i - 1 :: 2]), folder / "unet" / f"diffusion_pytorch_model-0000{i}-of-00002.safetensors")
    state = load_family(folder).unet.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in tensors)
    (folder / "unet" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match="1 of 2 weight files are there"):
        load_family(folder)


def test_a_variant_is_read_when_it_is_asked_for(folder, caplog):
    file = weights(folder)
    half = {name: torch.full_like(tensor, 0.5).half() for name, tensor in load_file(file).items()}
    save_file(half, folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert not torch.all(load_family(folder).unet.conv_in.weight == 0.5)
    unet = load_family(folder, variant="fp16").unet
    assert torch.all(unet.conv_in.weight == 0.5)
    assert unet.dtype is torch.float32
    assert 'vae: has no file of variant "fp16"' in caplog.text
    file.unlink()
    with pytest.raises(ModelError, match=r'files without a variant; there is "fp16"\. Set model\.variant'):
        load_family(folder)


def test_another_autoencoder_takes_the_place_of_the_bases_own(saved, folder, tmp_path):
    other = tiny.vae(seed=7)
    other.save_pretrained(tmp_path / "vae")
    family = load_family(folder, vae=str(tmp_path / "vae"))
    assert torch.equal(family.vae.encoder.conv_in.weight, other.encoder.conv_in.weight)
    from_model = load_family(folder, vae=str(saved["sdxl"]))
    assert from_model.vae.config["force_upcast"]


@pytest.mark.parametrize(("base", "other"), [("playground", "sdxl"), ("sdxl", "playground")])
def test_another_autoencoder_keeps_the_scale_that_the_denoiser_was_trained_with(base, other, saved, caplog):
    """Playground's latents are SDXL's with a mean and a deviation for each channel: only the config tells them."""
    own = load_family(saved[base])
    assert not caplog.messages
    exchanged = load_family(saved[base], vae=str(saved[other]))
    [said] = caplog.messages
    assert "scaling_factor, latents_mean, latents_std than the base's own" in said
    pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        codes = [each.encode_images(pixels, torch.zeros(1, 6, dtype=torch.long)).mean for each in (own, exchanged)]
    torch.testing.assert_close(*codes)  # the tiny autoencoders have the same weights


def test_the_autoencoder_stays_in_fp32_where_its_config_asks_for_that(saved, folder):
    assert load_family(folder, precision="bf16").vae.dtype is torch.bfloat16
    family = load_family(saved["sdxl"], precision="bf16")
    assert family.vae.dtype is torch.float32
    assert {family.unet.dtype, family.text_encoder.dtype, family.text_encoder_2.dtype} == {torch.bfloat16}
    code = family.encode_images(torch.zeros(1, 3, 16, 16), torch.zeros(1, 6, dtype=torch.long))
    assert code.mean.dtype is torch.float32


def test_files_are_not_written_to_by_training_what_was_read(folder):
    before = weights(folder).read_bytes()
    with torch.no_grad():
        for parameter in load_family(folder).unet.parameters():
            parameter.add_(1)
    assert weights(folder).read_bytes() == before


def test_what_is_loaded_is_frozen_and_ready_to_be_used(saved):
    for folder in saved.values():
        for module in load_family(folder).modules.values():
            assert not module.training
            assert not any(parameter.requires_grad for parameter in module.parameters())


def test_a_cached_hub_model_is_read_without_a_network(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--someone--model"
    shutil.copytree(saved["sd1"], cached / "snapshots" / "0123456789abcdef0123456789abcdef01234567")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0123456789abcdef0123456789abcdef01234567")
    assert load_family("someone/model").name == "sd"


MISTAKES = {
    "no such name": (lambda _: "maquette-46", 'did you mean "maquette-64"'),
    "no such folder": (lambda f: str(f / "nothing" / "here"), "no such file or folder"),
    "no such file": (lambda _: "models/mine.safetensors", "no such file or folder"),
    "pickled": (lambda f: touched(f.parent / "model.ckpt"), "pickled"),
    "a picture": (lambda f: touched(f.parent / "model.png"), "is no model"),
    "hub id offline": (lambda _: "someone/nothing", "could not be fetched from the hub.*give a folder"),
    "an empty folder": (lambda f: made(f.parent / "empty"), "has no model_index.json"),
    "an adapter": (lambda f: adapter(f.parent / "lora"), "holds an adapter; a base is a whole model"),
    "another pipeline": (lambda f: spoiled(f, "model_index.json", _class_name="FluxPipeline"), "FluxPipeline.*Known"),
    "index no JSON": (lambda f: overwritten(f, "model_index.json", "{"), "is no JSON"),
    "config no object": (lambda f: overwritten(f, "unet/config.json", "[]"), "holds a list"),
    "two parts missing": (lambda f: without(f, "vae", "tokenizer"), r"no folder vae, tokenizer \(it has: scheduler"),
    "no vocabulary": (lambda f: without(f, "tokenizer/tokenizer.json"), "has no vocabulary"),
    "only pickled weights": (lambda f: pickled(f), "only diffusion_pytorch_model.bin. It is pickled"),
    "no weights": (lambda f: without(f, "unet/diffusion_pytorch_model.safetensors"), "has no weights"),
    "cut short": (lambda f: cut(f, "unet/diffusion_pytorch_model.safetensors"), "may be cut short"),
    "another scheduler": (
        lambda f: spoiled(f, "scheduler/scheduler_config.json", _class_name="X"),
        "_class_name is 'X'",
    ),
    "another class": (lambda f: spoiled(f, "unet/config.json", _class_name="FluxTransformer"), "of another family"),
    "impossible config": (lambda f: spoiled(f, "unet/config.json", norm_num_groups=7), "no model that can be built"),
    "wider config": (lambda f: spoiled(f, "unet/config.json", cross_attention_dim=40), "tensors of other shapes"),
    "deeper config": (lambda f: spoiled(f, "unet/config.json", layers_per_block=2), "lacks .* tensors"),
    "fewer words": (lambda f: spoiled(f, "text_encoder/config.json", vocab_size=100), "knows 100 tokens"),
}


def touched(path):
    path.write_bytes(b"x")
    return str(path)


def made(path):
    path.mkdir()
    return str(path)


def adapter(path):
    path.mkdir()
    touched(path / "pytorch_lora_weights.safetensors")
    return str(path)


def spoiled(folder, name, **values):
    edit(folder / name, **values)
    return str(folder)


def overwritten(folder, name, text):
    (folder / name).write_text(text)
    return str(folder)


def without(folder, *names):
    for name in names:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    return str(folder)


def pickled(folder):
    weights(folder).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    return str(folder)


def cut(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:1000])
    return str(folder)


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_mistakes_are_explained(mistake, folder):
    spoil, message = MISTAKES[mistake]
    with pytest.raises(ModelError, match=message) as raised:
        load_family(spoil(folder))
    assert "\n" not in str(raised.value)


def test_arguments_that_would_do_nothing_are_refused(saved, tmp_path):
    with pytest.raises(ModelError, match="has a tokenizer of its own"):
        load_family(saved["sd1"], tokenizer=str(saved["sd1"]))
    touched(tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="one file, which has no revision or variant"):
        load_family(tmp_path / "model.safetensors", variant="fp16")
    with pytest.raises(ModelError, match='vae "nothing": is no folder, nor a hub id'):
        load_family(saved["sd1"], vae="nothing")


def test_devices_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("cpu") == choose_device("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"no such device here\. There are: cpu"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(choose_device(name)) for name in ("auto", "cuda", "cuda:1")] == ["cuda:0", "cuda", "cuda:1"]
    with pytest.raises(ConfigError, match="There are: cuda:0, cuda:1, cpu"):
        choose_device("cuda:2")


def test_half_precision_is_chosen_for_large_models_on_devices_that_have_it(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    assert choose_dtype("auto", cpu, 10 * LARGE) is torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert choose_dtype("auto", cpu, 10 * LARGE) is torch.bfloat16
    assert choose_dtype("auto", cpu, LARGE // 10) is torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert choose_dtype("auto", cuda, 10 * LARGE) is torch.float32
    assert choose_dtype("fp16", cuda, 1) is torch.float16
    with pytest.raises(ConfigError, match=r"fp16.* needs a GPU"):
        choose_dtype("fp16", cpu, 1)
