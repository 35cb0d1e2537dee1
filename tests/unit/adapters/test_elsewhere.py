"""Adapters that other frameworks wrote: ppdiffusers' pickled and safetensors files, and ai-toolkit's."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.contract import tiny
from tests.unit.adapters import small
from tests.unit.adapters.small import written
from torch import Tensor

from maquette.adapters.attach import attach
from maquette.adapters.convert import convert
from maquette.adapters.delta import Place, product
from maquette.adapters.keys import Layout, layout_of
from maquette.adapters.read import locate, read_adapter
from maquette.config.schema import RunConfig
from maquette.errors import CheckpointError

BLOCK = "mid_block.attentions.0.transformer_blocks.0"
LEAVES = ("to_q", "to_k", "to_v", "to_out.0")


@pytest.fixture(scope="module")
def layout() -> Layout:
    return layout_of(small.models("sd1").modules)


def pairs(layout: Layout) -> dict[str, tuple[Tensor, Tensor]]:
    """By leaf of one attention: a down and an up matrix in torch's layout, no two sides of the same length."""
    generator = torch.Generator().manual_seed(0)
    drawn = {}
    for leaf in LEAVES:
        outputs, inputs = layout.shapes[Place("denoiser", f"{BLOCK}.attn2.{leaf}")]
        drawn[leaf] = (torch.randn(3, inputs, generator=generator), torch.randn(outputs, 3, generator=generator))
    return drawn


def ours(folder: Path, layout: Layout) -> Path:
    tensors = {}
    for leaf, (down, up) in pairs(layout).items():
        tensors |= {
            f"unet.{BLOCK}.attn2.{leaf}.lora_A.weight": down,
            f"unet.{BLOCK}.attn2.{leaf}.lora_B.weight": up,
        }
    return written(folder, tensors)


def paddle(layout: Layout, spelling: str) -> dict[str, np.ndarray]:
    """What ppdiffusers holds: every matrix the other way round."""
    tensors = {}
    for leaf, (down, up) in pairs(layout).items():
        short = leaf.removesuffix(".0")
        name = (
            f"{BLOCK}.attn2."
            + {
                "processor": f"processor.{short}_lora",
                "unet": f"processor.{short}_lora",
                "peft": leaf,
            }[spelling]
        )
        name = name if spelling == "processor" else f"unet.{name}"
        ends = ("lora_A", "lora_B") if spelling == "peft" else ("down", "up")
        tensors |= {f"{name}.{ends[0]}.weight": down.T.numpy(), f"{name}.{ends[1]}.weight": up.T.numpy()}
    return {name: np.ascontiguousarray(values) for name, values in tensors.items()}


def assert_same(path: Path, expected: Path, layout: Layout) -> None:
    read, known = read_adapter(path, layout).delta, read_adapter(expected, layout).delta
    assert read.keys() == known.keys()
    for place, update in read.items():
        shape = layout.shapes[place]
        assert torch.equal(product(update.factors, shape), product(known[place].factors, shape))


@pytest.mark.parametrize("spelling", ["processor", "unet", "peft"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_ppdiffusers_pdparams(spelling: str, protocol: int, tmp_path: Path, layout: Layout):
    content = paddle(layout, spelling)
    named = {"StructuredToParameterName@@": {name: f"linear_{i}.w_0" for i, name in enumerate(content)}}
    (tmp_path / "run").mkdir()
    file = tmp_path / "run/paddle_lora_weights.pdparams"
    file.write_bytes(pickle.dumps(content | named, protocol))
    assert locate(tmp_path / "run") == file
    assert_same(tmp_path / "run", ours(tmp_path, layout), layout)


def test_paddles_tensors_with_their_names_inside(tmp_path: Path, layout: Layout):
    content = {
        name: (f"linear_{i}.w_0", values) for i, (name, values) in enumerate(paddle(layout, "processor").items())
    }
    (tmp_path / "named.pdparams").write_bytes(pickle.dumps(content, 2))
    assert_same(tmp_path / "named.pdparams", ours(tmp_path, layout), layout)


def test_ppdiffusers_bf16(tmp_path: Path, layout: Layout):
    halves = {
        name: torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()
        for name, values in paddle(layout, "peft").items()
    }
    (tmp_path / "half.pdparams").write_bytes(pickle.dumps(halves, 2))
    read, whole = (read_adapter(path, layout).delta for path in (tmp_path / "half.pdparams", ours(tmp_path, layout)))
    for place, update in read.items():
        assert torch.equal(update.factors.down, whole[place].factors.down.bfloat16())


def test_ppdiffusers_safetensors_say_that_they_are_paddles(tmp_path: Path, layout: Layout):
    tensors = {name: torch.from_numpy(values) for name, values in paddle(layout, "unet").items()}
    expected = ours(tmp_path, layout)
    (tmp_path / "paddle").mkdir()
    assert_same(written(tmp_path / "paddle", tensors, {"format": "pd"}), expected, layout)
    (tmp_path / "torch").mkdir()
    with pytest.raises(CheckpointError, match="another size"):
        read_adapter(written(tmp_path / "torch", tensors, {"format": "pt"}), layout)


@pytest.mark.parametrize("kind", ["kandinsky-decoder", "kandinsky-prior"])
@pytest.mark.parametrize("prefix", ["unet.", ""])
def test_adapters_that_scripts_trained_of_kandinskys_halves(kind: str, prefix: str, tmp_path: Path):
    """They hold LoRA layers for each attention, by diffusers' names of its processors, and as a UNet's."""
    denoiser = tiny.RECIPES[kind]().modules["denoiser"]
    layout = layout_of({"denoiser": denoiser})
    rng = torch.Generator().manual_seed(0)
    theirs, ours = {}, {}
    for processor in denoiser.attn_processors:
        attention = processor.removesuffix(".processor")
        for leaf, layer in denoiser.get_submodule(attention).named_modules():
            if isinstance(layer, torch.nn.Linear):
                down = torch.randn(3, layer.in_features, generator=rng)
                up = torch.randn(layer.out_features, 3, generator=rng)
                name = f"{prefix}{processor}.{leaf.removesuffix('.0')}_lora"
                theirs |= {f"{name}.down.weight": down, f"{name}.up.weight": up}
                name = f"{layout.component['denoiser']}.{attention}.{leaf}"
                ours |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    (tmp_path / "torch").mkdir()
    (tmp_path / "paddle").mkdir()
    expected = written(tmp_path, ours)
    pickled = tmp_path / "paddle_lora_weights.pdparams"
    pickled.write_bytes(pickle.dumps({name: np.ascontiguousarray(each.T.numpy()) for name, each in theirs.items()}, 4))
    turned = {name: each.T.contiguous() for name, each in theirs.items()}
    for file in (
        pickled,
        written(tmp_path / "paddle", turned, {"format": "pd"}),
        written(tmp_path / "torch", theirs),
    ):
        assert_same(file, expected, layout)
    names = ("to_q", "to_k", "to_v", "to_out.0") + (("add_k_proj", "add_v_proj") if kind == "kandinsky-decoder" else ())
    found = read_adapter(expected, layout).delta
    assert len(found) == len(names) * len(denoiser.attn_processors)
    assert {place.path.endswith(names) for place in found} == {True}


@pytest.mark.parametrize("spelling", ["flat", "dotted"])
def test_ai_toolkit(spelling: str, tmp_path: Path, layout: Layout):
    about = {"software": json.dumps({"name": "ai-toolkit"}), "training_info": json.dumps({"step": 9, "epoch": 1})}
    tensors = {}
    for leaf, (down, up) in pairs(layout).items():
        if spelling == "flat":
            name = f"lora_unet_{BLOCK}_attn2_{leaf}".replace(".", "_")
            tensors |= {
                f"{name}.lora_down.weight": down,
                f"{name}.lora_up.weight": up,
                f"{name}.alpha": torch.tensor(3.0),
            }
        else:
            name = f"diffusion_model.middle_block.1.transformer_blocks.0.attn2.{leaf}"
            tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    expected = ours(tmp_path, layout)
    (tmp_path / "there").mkdir()
    assert_same(written(tmp_path / "there", tensors, about), expected, layout)


class Runs:
    """What an attacker writes: unpickling it makes a folder."""

    def __init__(self, at: Path) -> None:
        self.at = at

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.at),)


def test_a_hostile_adapter_is_refused_and_runs_nothing(tmp_path: Path, layout: Layout):
    content = paddle(layout, "peft") | {"odd": Runs(tmp_path / "made")}
    (tmp_path / "hostile.pdparams").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(CheckpointError, match=r"is refused: it asks for .*mkdir"):
        read_adapter(tmp_path / "hostile.pdparams", layout)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x02}q\x00(X\xff\xff\xff\xff", b"not a pickle"])
def test_a_damaged_adapter_is_called_damaged(content: bytes, tmp_path: Path, layout: Layout):
    (tmp_path / "damaged.pdparams").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged\.pdparams: (?:cannot be read|is refused)"):
        read_adapter(tmp_path / "damaged.pdparams", layout)
    with pytest.raises(CheckpointError, match="no such file"):
        read_adapter(tmp_path / "missing.pdparams", layout)


def test_training_goes_on_from_a_paddle_file(tmp_path: Path):
    before = small.updates(small.trained(small.models("sd1"), {"kind": "lora", "rank": 3}, text="none"))
    content = {}
    for place, update in before.items():
        content[f"unet.{place.path}.lora_A.weight"] = update.factors.down.detach().T.contiguous().numpy()
        content[f"unet.{place.path}.lora_B.weight"] = update.factors.up.detach().T.contiguous().numpy()
    (tmp_path / "begun.pdparams").write_bytes(pickle.dumps(content, 2))
    adapter = {"kind": "lora", "rank": 3, "start_from": str(tmp_path / "begun.pdparams")}
    config = RunConfig.model_validate({"adapter": adapter})
    trainable = attach(config, small.models("sd1"), steps=10, weight_decay=0.01, rng=torch.Generator().manual_seed(9))
    after = small.updates(trainable)
    assert after.keys() == before.keys()
    for place, update in after.items():
        shape = tuple(update.factors.up.shape[:1]) + tuple(update.factors.down.shape[1:])
        torch.testing.assert_close(
            product(update.factors, torch.Size(shape)), product(before[place].factors, torch.Size(shape))
        )


def test_a_paddle_file_is_converted(tmp_path: Path):
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
    down, up = np.random.default_rng(0).normal(size=(768, 2)), np.random.default_rng(1).normal(size=(2, 320))
    content = {
        f"{layer}.processor.to_k_lora.down.weight": down.astype("f4"),
        f"{layer}.processor.to_k_lora.up.weight": up.astype("f4"),
    }
    (tmp_path / "theirs.pdparams").write_bytes(pickle.dumps(content, 2))
    convert(tmp_path / "theirs.pdparams", tmp_path / "ours.safetensors", "kohya")
    tensors = load_file(tmp_path / "ours.safetensors")
    name = f"lora_unet_{layer}_to_k".replace(".", "_")
    change = tensors[f"{name}.lora_up.weight"] @ tensors[f"{name}.lora_down.weight"]
    torch.testing.assert_close(change, torch.from_numpy((down @ up).T).float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["mug.pt", "pytorch_lora_weights.bin", "adapter_model.bin"])
def test_adapters_that_torch_wrote_are_read_as_their_safetensors(name: str, layout: Layout, tmp_path: Path):
    expected = read_adapter(ours(tmp_path, layout), layout).delta
    folder = tmp_path / "old"
    folder.mkdir()
    tensors = load_file(ours(tmp_path, layout))
    if name == "adapter_model.bin":  # peft's, which says of one module what it is
        tensors = {key.replace("unet.", "base_model.model."): tensor for key, tensor in tensors.items()}
        (folder / "adapter_config.json").write_text('{"r": 3, "lora_alpha": 6}')
    torch.save(tensors, folder / name)
    torch.save({"lr": 1.0}, folder / "training_args.bin")  # which is not taken for one
    read = read_adapter(folder / name if name == "mug.pt" else folder, layout).delta
    scale = 2.0 if name == "adapter_model.bin" else 1.0
    assert read.keys() == expected.keys()
    for place, update in read.items():
        shape = layout.shapes[place]
        torch.testing.assert_close(product(update.factors, shape), scale * product(expected[place].factors, shape))
