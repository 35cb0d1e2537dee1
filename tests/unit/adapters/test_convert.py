import json

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from tests.contract import tiny
from tests.unit.adapters import small
from tests.unit.adapters.test_targets import SD1, SDXL
from typer import Typer
from typer.testing import CliRunner

from maquette.adapters.bases import layout_of_base, published_layouts
from maquette.adapters.convert import about_of, convert, fuse_into, read_for
from maquette.adapters.export import export_adapter
from maquette.adapters.files import read_metadata
from maquette.adapters.keys import layout_of
from maquette.adapters.read import read_adapter
from maquette.adapters.worn import Worn, worn
from maquette.cli.convert import convert as convert_command
from maquette.cli.fuse import fuse as fuse_command
from maquette.errors import CheckpointError, ConfigError
from maquette.families.load import load_family


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.save("sd1", tmp_path_factory.mktemp("base"))


def trained(base, folder, dialect="kohya", **adapter):
    """An adapter file for the base, as training would leave it, and the family that was trained."""
    family = load_family(base)
    for module in family.modules.values():
        module.requires_grad_(False)
    layout = layout_of(family.modules)
    delta = small.updates(small.trained(family, {"kind": "lora", "rank": 3, "lora_alpha": 1.0, **adapter}))
    path = folder / "dog.safetensors"
    export_adapter(path, delta, layout, dialect, small.ABOUT)
    return path, family


def predicted(family):
    rng = torch.Generator().manual_seed(0)
    x, t = torch.randn(1, 4, 8, 8, generator=rng), torch.tensor([300.0])
    with torch.no_grad():
        return family.predict(x, t, family.embed_text(family.tokenize(["a photo of sks dog"])))


def run(command, *arguments):
    app = Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_layouts_of_published_families_need_no_weights():
    layouts = dict(published_layouts())
    assert list(layouts) == ["Stable Diffusion 1", "Stable Diffusion 2", "SDXL"]
    for name, config in (("Stable Diffusion 1", SD1), ("SDXL", SDXL)):
        with torch.device("meta"):
            expected = layout_of({"denoiser": UNet2DConditionModel(**config)})
        found = {place: name for place, name in layouts[name].kohya.items() if place.module == "denoiser"}
        assert found == expected.kohya
        assert all(layouts[name].shapes[place] == expected.shapes[place] for place in found)
    texts = {place.module for place in layouts["SDXL"].shapes}
    assert texts == {"denoiser", "text_encoder", "text_encoder_2"}
    assert sum(place.module == "text_encoder_2" for place in layouts["SDXL"].shapes) == 32 * 6 + 1


def test_the_layout_of_a_base_is_that_of_its_modules(base):
    family, found = load_family(base), layout_of_base(str(base))
    expected = layout_of(family.modules)
    assert found.shapes == expected.shapes
    assert found.kohya == expected.kohya
    assert found.version == "sd_v1"


def test_there_and_back_is_the_same_adapter(base, tmp_path):
    path, family = trained(base, tmp_path)
    for dialect, source in (("diffusers", path), ("kohya", tmp_path / "diffusers.safetensors")):
        convert(source, tmp_path / f"{dialect}.safetensors", dialect, base=str(base))
    expected = predicted(family)
    again = load_family(base)
    for name in ("diffusers", "kohya"):
        read = read_adapter(tmp_path / f"{name}.safetensors", layout_of(again.modules))
        with worn(again.modules, [Worn(read.delta)]):
            torch.testing.assert_close(predicted(again), expected, rtol=1e-4, atol=1e-5)
    metadata = read_metadata(tmp_path / "kohya.safetensors")
    original = read_metadata(path)
    kept = [key for key in original if key.startswith(("ss_", "modelspec."))]
    derived = {"ss_network_alpha", "modelspec.hash_sha256"}  # the scale is in B by now, so that alpha is the rank
    assert {key: metadata[key] for key in kept if key not in derived} == {
        key: original[key] for key in kept if key not in derived
    }


def test_a_file_for_a_published_family_is_recognised(tmp_path):
    name = "lora_unet_{}_transformer_blocks_0_attn2_to_k"
    files = {
        "sd_v1": (name.format("down_blocks_0_attentions_0"), 320, 768),
        "sd_v2": (name.format("down_blocks_0_attentions_0"), 320, 1024),
        "sdxl_base_v1-0": (name.format("input_blocks_4_1"), 640, 2048),
    }
    for version, (layer, out, inputs) in files.items():
        path = small.written(
            tmp_path,
            {f"{layer}.lora_up.weight": torch.ones(out, 2), f"{layer}.lora_down.weight": torch.ones(2, inputs)},
        )
        read, layout = read_for(path, None)
        assert layout.version == version
        assert len(read.delta) == 1
    strange = small.written(tmp_path, {"lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": torch.ones(2, 2)})
    with pytest.raises(CheckpointError, match="--base") as error:
        read_for(strange, None)
    assert "as Stable Diffusion 1" in str(error.value)
    assert "as SDXL" in str(error.value)


def test_the_description_of_a_file_is_kept(base, tmp_path):
    path, _ = trained(base, tmp_path)
    read = read_adapter(path, layout_of_base(str(base)))
    about = about_of(read, "other")
    assert (about.title, about.trigger, about.size, about.date) == ("dog", "sks dog", (64, 64), "2026-01-02")
    assert about.training == {"seed": "0"}


@pytest.mark.parametrize("kind", ["lora", "dora", "lokr"])
@pytest.mark.parametrize("target", ["folder", "one.safetensors"])
def test_a_fused_base_needs_no_adapter(kind, target, base, tmp_path):
    path, family = trained(base, tmp_path, kind=kind)
    before = predicted(load_family(base))
    vocabulary = None
    if target != "folder":
        vocabulary = str(tiny.write_vocabulary(tmp_path / "vocabulary"))
    fuse_into(str(base), [(path, 1.0)], tmp_path / target)
    fused = load_family(tmp_path / target, tokenizer=vocabulary)
    assert (predicted(fused) - before).abs().max() > 1e-3
    torch.testing.assert_close(predicted(fused), predicted(family), rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="exists already"):
        fuse_into(str(base), [(path, 1.0)], tmp_path / target)


def test_fp16_is_for_all_but_the_autoencoder(base, tmp_path):
    path, _ = trained(base, tmp_path)
    fuse_into(str(base), [(path, 0.5)], tmp_path / "half", precision="fp16")
    dtypes = {}
    for part in ("unet", "text_encoder", "vae"):
        (file,) = (tmp_path / "half" / part).glob("*.safetensors")
        dtypes[part] = {str(tensor.dtype) for tensor in load_file(file).values() if tensor.is_floating_point()}
    assert dtypes == {"unet": {"torch.float16"}, "text_encoder": {"torch.float16"}, "vae": {"torch.float32"}}


def test_the_commands(base, tmp_path):
    path, family = trained(base, tmp_path)
    result = run(convert_command, path, "--to", "diffusers", "--base", base)
    assert result.exit_code == 0, result.output
    made = tmp_path / "dog-diffusers.safetensors"
    assert made.name in result.output
    assert json.loads(read_metadata(made)["lora_adapter_metadata"])["unet.r"] == 3
    result = run(fuse_command, "--base", base, "--adapter", path, "--adapter", made, "--scale", 0.25, "--scale", 0.75,
                 "--out", tmp_path / "fused")  # fmt: skip
    assert result.exit_code == 0, result.output
    torch.testing.assert_close(predicted(load_family(tmp_path / "fused")), predicted(family), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (convert_command, ["nowhere.safetensors", "--to", "kohya"], "FILE nowhere.safetensors"),
        (
            fuse_command,
            ["--base", "maquette-64", "--adapter", "nowhere", "--out", "x"],
            "no such file or folder: nowhere",
        ),
        (
            fuse_command,
            ["--base", "b", "--adapter", "a", "--scale", "1", "--scale", "2", "--out", "x"],
            "--scale is given 2",
        ),
    ],
)
def test_mistakes(command, arguments, message):
    result = run(command, *arguments)
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


def test_conversion_keeps_what_exists(base, tmp_path):
    path, _ = trained(base, tmp_path)
    with pytest.raises(ConfigError, match="the file exists"):
        convert(path, path, "diffusers", base=str(base))
    with pytest.raises(ConfigError, match=r"ends in \.safetensors"):
        convert(path, tmp_path / "new", "diffusers", base=str(base))
