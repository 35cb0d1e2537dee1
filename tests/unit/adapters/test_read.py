import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from tests.unit.adapters import small
from tests.unit.adapters.small import written

from maquette.adapters.about import About
from maquette.adapters.delta import Lokr, LowRank, Place, product
from maquette.adapters.export import export_adapter, export_both
from maquette.adapters.keys import layout_of
from maquette.adapters.read import read_adapter
from maquette.errors import CheckpointError

BLOCK = "mid_block.attentions.0.transformer_blocks.0"
KOHYA = "lora_unet_" + BLOCK.replace(".", "_")


@pytest.fixture(scope="module")
def layout():
    return layout_of(small.models("sd1").modules)


@pytest.fixture(scope="module")
def layout_xl():
    return layout_of(small.models("sdxl").modules)


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def attention(leaf="attn2.to_k"):
    return Place("denoiser", f"{BLOCK}.{leaf}")


def change(file, place, layout):
    return product(file.delta[place].factors, layout.shapes[place])


def test_kohya_scales_by_alpha_over_rank_and_by_one_without(tmp_path, layout):
    up, down = draw(16, 4), draw(4, 12)
    tensors = {f"{KOHYA}_attn2_to_k.lora_up.weight": up, f"{KOHYA}_attn2_to_k.lora_down.weight": down}
    plain = read_adapter(written(tmp_path, tensors), layout)
    scaled = read_adapter(written(tmp_path, tensors | {f"{KOHYA}_attn2_to_k.alpha": torch.tensor(1.0)}), layout)
    torch.testing.assert_close(change(plain, attention(), layout), (up @ down).double(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(change(scaled, attention(), layout), (up @ down).double() / 4, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("down", "up"),
    [
        (f"unet.{BLOCK}.attn2.to_k.lora_A.weight", f"unet.{BLOCK}.attn2.to_k.lora_B.weight"),
        (f"{BLOCK}.attn2.to_k.lora_A.weight", f"{BLOCK}.attn2.to_k.lora_B.weight"),
        (f"unet.{BLOCK}.attn2.to_k.lora.down.weight", f"unet.{BLOCK}.attn2.to_k.lora.up.weight"),
        (f"unet.{BLOCK}.attn2.processor.to_k_lora.down.weight", f"unet.{BLOCK}.attn2.processor.to_k_lora.up.weight"),
        (f"{BLOCK}.attn2.processor.to_k_lora.down.weight", f"{BLOCK}.attn2.processor.to_k_lora.up.weight"),
        (f"base_model.model.{BLOCK}.attn2.to_k.lora_A.weight", f"base_model.model.{BLOCK}.attn2.to_k.lora_B.weight"),
        (f"{KOHYA}_attn2_to_k.lora_down.weight", f"{KOHYA}_attn2_to_k.lora_up.weight"),
        ("diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.lora_A.weight",
         "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.lora_B.weight"),
        ("lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k.lora_down.weight",
         "lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k.lora_up.weight"),
    ],
)  # fmt: skip
def test_every_spelling_of_one_layer(down, up, tmp_path, layout):
    read = read_adapter(written(tmp_path, {down: draw(4, 12), up: draw(16, 4)}), layout)
    assert list(read.delta) == [attention()]
    assert torch.equal(read.delta[attention()].factors.down, draw(4, 12))


@pytest.mark.parametrize(
    "leaf", ["self_attn.to_q_lora.down", "self_attn.q_proj.lora_linear_layer.down", "self_attn.q_proj.lora_A"]
)
def test_old_spellings_of_text_encoders(leaf, tmp_path, layout):
    up = leaf.replace("down", "up").replace("lora_A", "lora_B")
    prefix = "text_encoder.text_model.encoder.layers.1"
    read = read_adapter(
        written(tmp_path, {f"{prefix}.{leaf}.weight": draw(4, 12), f"{prefix}.{up}.weight": draw(12, 4)}), layout
    )
    assert list(read.delta) == [Place("text_encoder", "encoder.layers.1.self_attn.q_proj")]


def test_diffusers_metadata_sets_the_scale_layer_by_layer(tmp_path, layout):
    tensors = {}
    for leaf, r in (("attn1.to_k", 4), ("attn1.to_v", 2)):
        tensors |= {
            f"unet.{BLOCK}.{leaf}.lora_A.weight": draw(r, 16),
            f"unet.{BLOCK}.{leaf}.lora_B.weight": draw(16, r),
        }
    settings = {"unet.r": 4, "unet.lora_alpha": 8, "unet.alpha_pattern": {"to_v": 5}, "unet.rank_pattern": {"to_v": 2}}
    for rslora, scales in ((False, (2.0, 2.5)), (True, (4.0, 5 / 2**0.5))):
        metadata = {"lora_adapter_metadata": json.dumps(settings | {"unet.use_rslora": rslora})}
        read = read_adapter(written(tmp_path, tensors, metadata), layout)
        assert [read.delta[attention(leaf)].factors.scale for leaf in ("attn1.to_k", "attn1.to_v")] == pytest.approx(
            scales
        )


def test_a_folder_that_peft_wrote(tmp_path):
    models = small.models("sd1")
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["to_k"], init_lora_weights=False, use_rslora=True)
    wrapped = get_peft_model(models.modules["denoiser"], config)
    wrapped.save_pretrained(tmp_path)
    layer = wrapped.base_model.model.get_submodule(f"{BLOCK}.attn2.to_k")
    layout = layout_of(small.models("sd1").modules)
    read = read_adapter(tmp_path, layout)
    assert len(read.delta) == 8
    torch.testing.assert_close(
        change(read, attention(), layout).float(), layer.get_delta_weight("default").detach(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(("shape", "axis"), [((16, 1), "out"), ((1, 12), "in"), ((16,), "out")])
def test_magnitudes_of_both_axes(shape, axis, tmp_path, layout):
    tensors = {"lora_up.weight": draw(16, 4), "lora_down.weight": draw(4, 12), "dora_scale": draw(*shape)}
    path = written(tmp_path, {f"{KOHYA}_attn2_to_k.{name}": value for name, value in tensors.items()})
    update = read_adapter(path, layout).delta[attention()]
    assert update.axis == axis
    assert torch.equal(update.magnitude, draw(*shape).flatten())


def test_a_core_between_the_matrices_of_a_convolution(tmp_path, layout):
    up, mid, down = draw(8, 3, 1, 1), draw(3, 2, 3, 3), draw(2, 8, 1, 1)
    name = "lora_unet_down_blocks_0_resnets_0_conv1"
    tensors = {"lora_up.weight": up, "lora_mid.weight": mid, "lora_down.weight": down, "alpha": torch.tensor(6.0)}
    read = read_adapter(written(tmp_path, {f"{name}.{key}": value for key, value in tensors.items()}), layout)
    kernel = change(read, Place("denoiser", "down_blocks.0.resnets.0.conv1"), layout).float()
    x = draw(1, 8, 5, 5)
    apart = 2 * torch.conv2d(torch.conv2d(torch.conv2d(x, down), mid, padding=1), up)
    torch.testing.assert_close(torch.conv2d(x, kernel, padding=1), apart, rtol=1e-4, atol=1e-4)


def test_two_whole_kronecker_factors_have_scale_one(tmp_path, layout):
    tensors = {"lokr_w1": draw(4, 3), "lokr_w2": draw(4, 4), "alpha": torch.tensor(3.0)}
    read = read_adapter(written(tmp_path, {f"{KOHYA}_attn2_to_k.{k}": v for k, v in tensors.items()}), layout)
    assert isinstance(read.delta[attention()].factors, Lokr)
    torch.testing.assert_close(change(read, attention(), layout).float(), torch.kron(draw(4, 3), draw(4, 4)))


def test_what_is_left_over_is_refused_by_name(tmp_path, layout):
    good = {f"{KOHYA}_attn2_to_k.lora_up.weight": draw(16, 4), f"{KOHYA}_attn2_to_k.lora_down.weight": draw(4, 12)}
    strange = {"lora_unet_nowhere_to_q.lora_up.weight": draw(2, 2), f"{KOHYA}_attn2_to_k.lora_up.bias": draw(4)}
    with pytest.raises(CheckpointError, match=r"2 of 4 tensors.*attn2_to_k\.lora_up\.bias, lora_unet_nowhere"):
        read_adapter(written(tmp_path, good | strange), layout)
    with pytest.raises(CheckpointError, match="not a whole update"):
        read_adapter(written(tmp_path, dict([next(iter(good.items()))])), layout)
    with pytest.raises(CheckpointError, match="holds no adapter"):
        read_adapter(written(tmp_path, {}), layout)


def test_embeddings_packed_beside_it_are_told_of(tmp_path, layout, caplog):
    good = {f"{KOHYA}_attn2_to_k.lora_up.weight": draw(16, 4), f"{KOHYA}_attn2_to_k.lora_down.weight": draw(4, 12)}
    read_adapter(written(tmp_path, good), layout)
    assert caplog.messages == []
    read = read_adapter(written(tmp_path, good | {"bundle_emb.sks.emb_params": draw(1, 12)}), layout)
    assert list(read.delta) == [attention()]
    [said] = caplog.messages
    assert said.endswith("embeddings, which are not used: bundle_emb.sks.emb_params.")


@pytest.mark.parametrize("dialect", ["kohya", "diffusers"])
@pytest.mark.parametrize("kept", ["metadata", "nothing"])
def test_an_adapter_that_lost_its_output_projections_is_refused(dialect, kept, tmp_path, layout):
    models = small.models("sd1")
    trainable = small.trained(models, {"kind": "lora", "rank": 2})
    path = tmp_path / "whole.safetensors"
    export_adapter(path, small.updates(trainable), layout, dialect, About(title="dog"))
    lost = {name: value for name, value in load_file(path).items() if "to_out" not in name}
    metadata = {"maquette.layers": "40"} if kept == "metadata" else None
    with pytest.raises(CheckpointError, match=r"to_out\.0|40 layers, and has 32"):
        read_adapter(written(tmp_path, lost, metadata), layout)


def test_an_adapter_that_never_had_output_projections_is_not(tmp_path, layout):
    models = small.models("sd1")
    trainable = small.trained(models, {"kind": "lora", "rank": 2, "targets": ["to_q", "to_k", "to_v"]}, text="none")
    for path in export_both(tmp_path, small.updates(trainable), layout, About(title="dog")).values():
        assert len(read_adapter(path, layout).delta) == 24


def test_an_adapter_of_another_family_is_refused_with_both_names(tmp_path, layout, layout_xl):
    models = small.models("sdxl")
    paths = export_both(
        tmp_path, small.updates(small.trained(models, {"kind": "lora", "rank": 2})), layout_xl, About(title="dog")
    )
    for path in paths.values():
        with pytest.raises(CheckpointError, match=r'for "sdxl_base_v1-0", and this base is "sd_v1"'):
            read_adapter(path, layout)
    wide = {f"{KOHYA}_attn2_to_k.lora_up.weight": draw(16, 4), f"{KOHYA}_attn2_to_k.lora_down.weight": draw(4, 10)}
    with pytest.raises(CheckpointError, match=r"1 of 1 updates are for layers of another size: .*to_k \(for 16 x 10"):
        read_adapter(written(tmp_path, wide), layout)


def test_files_that_cannot_be_read(tmp_path, layout):
    (tmp_path / "old.pt").write_bytes(b"\x80")
    (tmp_path / "torn.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(CheckpointError, match=r"old\.pt: cannot be read as a pickled file"):
        read_adapter(tmp_path / "old.pt", layout)
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        read_adapter(tmp_path / "torn.safetensors", layout)
    with pytest.raises(CheckpointError, match="there is no such file"):
        read_adapter(tmp_path / "none.safetensors", layout)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="it holds none"):
        read_adapter(tmp_path / "empty", layout)


def test_a_folder_with_both_dialects_means_the_exact_one(tmp_path, layout):
    models = small.models("sd1")
    delta = small.updates(small.trained(models, {"kind": "lora", "rank": 3, "lora_alpha": 1.0}))
    export_both(tmp_path / "export", delta, layout, About(title="dog"))
    read = read_adapter(tmp_path, layout)
    assert read.metadata["maquette.dialect"] == "kohya"
    assert isinstance(read.delta[attention()].factors, LowRank)
    assert torch.equal(read.delta[attention()].factors.up, delta[attention()].factors.up)
    (tmp_path / "export" / "another.safetensors").write_bytes((tmp_path / "export" / "dog.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"another\.safetensors, dog\.safetensors"):
        read_adapter(tmp_path, layout)
