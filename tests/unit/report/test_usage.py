"""How to load the result: the right file for each tool, and lines that work when they are copied."""

import ast
import shlex

import pytest
from tests.contract import tiny
from tests.unit.report.sample_run import export

from maquette.config.running import ModelConfig
from maquette.errors import CheckpointError
from maquette.report.base import Base, base_of
from maquette.report.exports import Export, find_exports, read_metadata
from maquette.report.usage import Subject, notes, usages

KOHYA = Export("export/mug.safetensors", "kohya", 1)
DORA = Export("export/mug.safetensors", "kohya", 1, is_dora=True)
LOHA = Export("export/mug.safetensors", "kohya", 1, algorithm="loha")
DIFFUSERS = Export("export/pytorch_lora_weights.safetensors", "diffusers", 1)
FOLDER = Export("export/model", "folder", 1)
CHECKPOINT = Export("export/mug.safetensors", "checkpoint", 1)
HUB = Base("org/model", "hub", None)
LOCAL = Base("model", "local", None)
EMBEDDED = Base("maquette-64", "embedded", "apache-2.0")


def subject(*exports: Export, base: Base = HUB, example: str = "a photo of sks mug", has_text: bool = False) -> Subject:
    return Subject(run="mug", base=base, example=example, exports=exports, has_text=has_text)


def test_every_tool_gets_the_dialect_that_it_reads():
    files = {usage.tool: usage.file for usage in usages(subject(KOHYA, DIFFUSERS))}
    assert files == {
        "maquette": "",
        "diffusers": DIFFUSERS.name,
        "ComfyUI": KOHYA.name,
        "AUTOMATIC1111, Forge": KOHYA.name,
    }


@pytest.mark.parametrize("base", [HUB, LOCAL, EMBEDDED])
@pytest.mark.parametrize("exports", [(KOHYA, DIFFUSERS), (FOLDER,), (FOLDER, CHECKPOINT)])
def test_python_to_copy_is_python_and_names_the_file(exports, base):
    example = 'a "mug" with a \\ in it'
    (code,) = [u.code for u in usages(subject(*exports, base=base, example=example)) if u.language == "python"]
    strings = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    imported = {
        a.name for n in ast.walk(ast.parse(code)) if isinstance(n, ast.ImportFrom | ast.Import) for a in n.names
    }
    assert example in strings
    assert names <= imported | {"model", "pipeline", "picture"}
    assert imported <= names
    if exports[0] is FOLDER:
        assert "mug/export/model" in strings
    else:
        assert {"mug/export", "pytorch_lora_weights.safetensors"} <= set(strings)


@pytest.mark.parametrize("example", ["a mug", '100% "real" $HOME `x` it\'s!', "a; rm -rf mug"])
def test_a_command_to_copy_is_the_command(example):
    (code,) = [u.code for u in usages(subject(KOHYA, example=example)) if u.language == "sh"]
    assert shlex.split(code) == ["maquette", "generate", example, "--adapter", "mug"]


def test_a_dora_says_which_file_is_for_which_tool():
    first, second = notes(subject(DORA, DIFFUSERS))
    assert "diffusers leaves the magnitudes of mug.safetensors out" in first
    assert "use pytorch_lora_weights.safetensors there" in first
    assert "ComfyUI normalises" in second
    assert notes(subject(KOHYA, DIFFUSERS)) == []


def test_what_diffusers_cannot_read_is_not_offered_to_it():
    shown = usages(subject(LOHA))
    assert "diffusers" not in [usage.tool for usage in shown]
    assert "diffusers cannot read" in notes(subject(LOHA))[0]


def test_the_embedded_base_is_no_base_of_other_tools():
    assert "maquette-64" in notes(subject(KOHYA, DIFFUSERS, base=EMBEDDED))[0]


def test_strengths_name_the_text_encoder_only_where_it_was_trained():
    def comfy(has_text: bool) -> str:
        return next(u.text for u in usages(subject(KOHYA, has_text=has_text)) if u.tool == "ComfyUI")

    assert "strength_model and strength_clip to 1" in comfy(True)
    assert "strength_clip does nothing" in comfy(False)


def test_a_whole_model_without_one_file_says_how_to_get_it():
    assert "output.single_file = true" in usages(subject(FOLDER))[-1].text
    assert "Put mug.safetensors" in usages(subject(FOLDER, CHECKPOINT))[-1].text


def test_nothing_exported_is_nothing_to_use():
    assert usages(subject()) == []


def test_files_are_known_by_what_they_say_of_themselves(tmp_path):
    folder = tmp_path / "export"
    args = '{"algo": "locon", "dora_wd": "True"}'
    export(folder / "mug.safetensors", {"maquette.dialect": "kohya", "ss_network_args": args})
    export(folder / "raw" / "mug.safetensors", {"maquette.dialect": "kohya", "ss_network_args": '{"algo": "lokr"}'})
    export(folder / "pytorch_lora_weights.safetensors", {"maquette.dialect": "diffusers"})
    export(folder / "whole.safetensors", {})
    export(folder / ".mug.unproven.safetensors", {})
    (folder / "model" / "unet").mkdir(parents=True)
    (folder / "model" / "model_index.json").write_text("{}")
    (folder / "model" / "unet" / "x").write_bytes(bytes(10))
    (folder / "notes.txt").write_text("mine")
    found = {each.name: each for each in find_exports(folder, tmp_path)}
    assert {name: each.kind for name, each in found.items()} == {
        "export/model": "folder",
        "export/mug.safetensors": "kohya",
        "export/raw/mug.safetensors": "kohya",
        "export/pytorch_lora_weights.safetensors": "diffusers",
        "export/whole.safetensors": "checkpoint",
    }
    assert found["export/mug.safetensors"].is_dora
    assert found["export/mug.safetensors"].algorithm == "lora"
    assert found["export/raw/mug.safetensors"].algorithm == "lokr"
    assert found["export/model"].num_bytes == 12
    assert found["export/mug.safetensors"].num_bytes == (folder / "mug.safetensors").stat().st_size
    assert next(each.name for each in found.values() if each.kind == "kohya") == "export/mug.safetensors"
    assert find_exports(tmp_path / "none", tmp_path) == []


@pytest.mark.parametrize(
    "data", [b"", b"no header at all", bytes([3, 0, 0, 0, 0, 0, 0, 0]) + b"[1]", bytes([255] * 20)]
)
def test_a_damaged_file_is_named(tmp_path, data):
    file = tmp_path / "mug.safetensors"
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"mug\.safetensors: is damaged"):
        read_metadata(file)


def test_a_base_is_told_by_its_name_and_its_licence(tmp_path):
    folder = tmp_path / "sdxl"
    folder.mkdir()
    assert base_of(ModelConfig(base=str(folder))) == Base("sdxl", "local", None)
    card = folder / "README.md"
    card.write_text("---\nlicense: openrail++\ntags: [a]\n---\n# SDXL\n")
    assert base_of(ModelConfig(base=str(folder))) == Base("sdxl", "local", "openrail++")
    for text in ("no front matter", "---\n: [broken\n---\n", "---\nlicense: [a, b]\n---\n", "---\n- a list\n---\n"):
        card.write_text(text)
        assert base_of(ModelConfig(base=str(folder))).license is None
    assert base_of(ModelConfig()) == EMBEDDED
    sdxl = "stabilityai/stable-diffusion-xl-base-1.0"
    assert base_of(ModelConfig(base=sdxl)) == Base(sdxl, "hub", "openrail++")
    assert base_of(ModelConfig(base="org/unknown")) == Base("org/unknown", "hub", None)
    assert base_of(ModelConfig(base="/models/x.safetensors")) == Base("x.safetensors", "local", None)


def test_a_base_of_edm_is_followed_less_strongly_than_its_pipeline_would(tmp_path):
    local = tiny.save("playground", tmp_path / "playground")
    (local / "README.md").write_text("---\nlicense: other\nlicense_name: playground-v2dot5-community\n---\n")
    published = "playgroundai/playground-v2.5-1024px-aesthetic"
    for given, kind in ((str(local), "local"), (published, "hub")):
        base = base_of(ModelConfig(base=given))
        assert (base.kind, base.license, base.guidance) == (kind, "playground-v2dot5-community", 3.0)
        for exports in ((KOHYA, DIFFUSERS), (FOLDER,)):
            (code,) = [u.code for u in usages(subject(*exports, base=base)) if u.language == "python"]
            assert 'pipeline("a photo of sks mug", guidance_scale=3.0).images[0]' in code
    assert base_of(ModelConfig(base=str(tiny.save("sdxl", tmp_path / "sdxl")))).guidance is None
