import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.unit.adapters import small

from maquette.adapters.about import About, metadata_of
from maquette.adapters.delta import Dense, LowRank, Place, Update
from maquette.adapters.export import export_adapter, kohya_tensors, prove
from maquette.adapters.files import read_metadata
from maquette.adapters.keys import layout_of
from maquette.errors import CheckpointError, ModelError
from maquette.report.privacy import without_paths

PLACE = Place("denoiser", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k")
KOHYA = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.fixture(scope="module")
def layout():
    return layout_of(small.models("sd1").modules)


def update(scale=0.5, **more):
    rng = torch.Generator().manual_seed(0)
    return Update(LowRank(torch.randn(16, 4, generator=rng), torch.randn(4, 12, generator=rng), scale), **more)


def test_alpha_and_magnitude_stand_in_the_file_as_other_tools_read_them(tmp_path, layout):
    magnitude = torch.arange(1.0, 17.0)
    delta = {PLACE: update(magnitude=magnitude)}
    export_adapter(tmp_path / "k.safetensors", delta, layout, "kohya", small.ABOUT)
    found = load_file(tmp_path / "k.safetensors")
    assert found.keys() == {f"{KOHYA}.{end}" for end in ("lora_up.weight", "lora_down.weight", "alpha", "dora_scale")}
    assert found[f"{KOHYA}.alpha"].shape == ()
    assert found[f"{KOHYA}.alpha"].item() == 2.0
    assert found[f"{KOHYA}.dora_scale"].shape == (16, 1)


def test_diffusers_has_the_scale_in_b_and_alpha_equal_to_rank(tmp_path, layout):
    delta = {PLACE: update(scale=0.25)}
    export_adapter(tmp_path / "d.safetensors", delta, layout, "diffusers", small.ABOUT)
    found = load_file(tmp_path / "d.safetensors")
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    assert torch.equal(found[f"{name}.lora_B.weight"], 0.25 * delta[PLACE].factors.up)
    settings = json.loads(read_metadata(tmp_path / "d.safetensors")["lora_adapter_metadata"])
    assert (settings["unet.r"], settings["unet.lora_alpha"], settings["unet.alpha_pattern"]) == (4, 4, {})
    assert settings["unet.target_modules"] == [PLACE.path]


@pytest.mark.parametrize("spoil", ["alpha", "missing", "swapped", "nan", "magnitude"])
def test_the_proof_finds_a_file_that_is_not_the_adapter(spoil, tmp_path, layout):
    delta = {
        PLACE: update(magnitude=torch.ones(16)),
        Place("denoiser", PLACE.path.replace("to_k", "to_v")): update(0.7),
    }
    tensors = kohya_tensors(delta, layout, torch.float32)
    name = KOHYA
    if spoil == "alpha":
        tensors[f"{name}.alpha"] = torch.tensor(4.0)
    elif spoil == "missing":
        tensors = {key: value for key, value in tensors.items() if not key.startswith(name)}
    elif spoil == "swapped":
        tensors[f"{name}.lora_up.weight"] = tensors[f"{name}.lora_up.weight"].flip(0)
    elif spoil == "nan":
        tensors[f"{name}.lora_up.weight"][0, 0] = float("nan")
    else:
        tensors[f"{name}.dora_scale"] = tensors[f"{name}.dora_scale"] * 1.001
    save_file(tensors, tmp_path / "spoilt.safetensors")
    with pytest.raises(CheckpointError, match=r"does not hold what was trained: .*attn2\.to_k"):
        prove(tmp_path / "spoilt.safetensors", delta, layout, torch.float32)


def test_an_export_that_fails_its_proof_leaves_nothing(tmp_path, layout):
    huge = {PLACE: Update(LowRank(torch.full((16, 4), 1e6), torch.ones(4, 12), 1.0))}
    with pytest.raises(CheckpointError, match='write "fp32"'):
        export_adapter(tmp_path / "k.safetensors", huge, layout, "kohya", small.ABOUT, precision="fp16")
    assert list(tmp_path.iterdir()) == []


def test_small_numbers_survive_fp16_as_well_as_fp16_can(tmp_path, layout):
    tiny = {PLACE: Update(LowRank(torch.full((16, 4), 3e-7), torch.full((4, 12), 0.3), 1.0))}
    export_adapter(tmp_path / "k.safetensors", tiny, layout, "kohya", small.ABOUT, precision="fp16")
    assert load_file(tmp_path / "k.safetensors")[f"{KOHYA}.lora_up.weight"].dtype == torch.float16


def test_what_diffusers_cannot_say_is_refused(tmp_path, layout):
    other = Place("denoiser", PLACE.path.replace("to_k", "to_v"))
    for delta in (
        {PLACE: Update(Dense(torch.ones(16, 12)))},
        {PLACE: update(magnitude=torch.ones(12), axis="in")},
        {PLACE: update(magnitude=torch.ones(16)), other: update()},
    ):
        with pytest.raises(ModelError, match="kohya's dialect, or fuse"):
            export_adapter(tmp_path / "d.safetensors", delta, layout, "diffusers", small.ABOUT)
        export_adapter(tmp_path / "k.safetensors", delta, layout, "kohya", small.ABOUT)


def test_the_hashes_are_those_of_the_bytes_behind_a_header_of_kohyas_keys_alone(tmp_path, layout):
    export_adapter(tmp_path / "k.safetensors", {PLACE: update()}, layout, "kohya", small.ABOUT)
    metadata = read_metadata(tmp_path / "k.safetensors")
    data = (tmp_path / "k.safetensors").read_bytes()
    behind = data[8 + int.from_bytes(data[:8], "little") :]
    assert metadata["sshs_model_hash"] == hashlib.sha256(behind).hexdigest()
    assert metadata["modelspec.hash_sha256"] == "0x" + metadata["sshs_model_hash"]
    # shorter than the offset of the legacy hash: nothing is hashed
    assert metadata["sshs_legacy_hash"] == hashlib.sha256(b"").hexdigest()[:8]


def test_golden_metadata(layout):
    about = About(
        title="dog",
        trigger="sks dog",
        size=(512, 768),
        prediction="epsilon",
        date="2026-01-02",
        license="cc0",
        training={"seed": 0, "learning_rate": 1e-4, "steps": 400},
    )
    assert metadata_of(about, {PLACE: update()}, layout, "kohya") == {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": "dog",
        "modelspec.resolution": "768x512",
        "modelspec.date": "2026-01-02",
        "modelspec.license": "cc0",
        "modelspec.trigger_phrase": "sks dog",
        "modelspec.prediction_type": "epsilon",
        "ss_v2": "False",
        "ss_base_model_version": "sd_v1",
        "ss_output_name": "dog",
        "ss_network_module": "networks.lora",
        "ss_network_args": "{}",
        "ss_network_dim": "4",
        "ss_network_alpha": "2",
        "ss_seed": "0",
        "ss_learning_rate": "0.0001",
        "ss_steps": "400",
        "maquette.dialect": "kohya",
        "maquette.layers": "1",
    }
    dora = metadata_of(about, {PLACE: update(magnitude=torch.ones(16))}, layout, "kohya")
    assert dora["ss_network_module"] == "lycoris.kohya"
    assert json.loads(dora["ss_network_args"]) == {"algo": "locon", "dora_wd": "True"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/ann/photos/dog", "dog"),
        ("C:\\Users\\ann\\photos\\dog.png", "dog.png"),
        ("~/photos/dog", "dog"),
        ("made from /home/ann/photos/dog, twice", "made from dog, twice"),
        ('{"folder": "/home/ann/dog"}', '{"folder": "dog"}'),
        ("https://github.com/Stability-AI/generative-models", "https://github.com/Stability-AI/generative-models"),
        ("stable-diffusion-v1/lora", "stable-diffusion-v1/lora"),
        ("a / b, 1/2, and/or", "a / b, 1/2, and/or"),
    ],
)
def test_absolute_paths_are_cut_to_their_last_part(text, expected):
    assert without_paths(text) == expected
