"""How to use a trained half of Kandinsky 2.2: lines that name both halves, whichever was trained."""

import ast
import shlex
from dataclasses import replace

import pytest

from maquette.report.base import Base
from maquette.report.exports import Export
from maquette.report.halves import PUBLISHED, how_to_use
from maquette.report.usage import Subject, usages

PREFIX = {"prior": "prior", "decoder": "unet"}
OWN = Base("my-half", "local", None)
WORDS = 'a "sks" dragon'


def trained(*exports: Export) -> Subject:
    return Subject(run="dragon", base=OWN, example=WORDS, exports=exports, has_text=False)


def adapter(half: str) -> Subject:
    of = f"kandinsky22_{half}"
    files = Export("export/dragon.safetensors", "kohya", 1, of=of)
    return trained(files, Export("export/pytorch_lora_weights.safetensors", "diffusers", 1, of=of))


def folder(pipeline: str) -> Subject:
    return trained(Export("export/model", "folder", 1, of=pipeline))


def flags(command: str) -> dict[str, str]:
    parts = shlex.split(command)
    assert parts[:3] == ["maquette", "generate", WORDS]
    return dict(zip(parts[3::2], parts[4::2], strict=True))


@pytest.mark.parametrize(
    ("half", "other", "module"), [("prior", "decoder", "prior.prior"), ("decoder", "prior", "decoder.unet")]
)
def test_an_adapter_of_a_half_is_loaded_beside_the_other(half, other, module):
    ours, theirs = how_to_use(adapter(half))
    bases = {"prior": "--prior", "decoder": "--base"}
    assert flags(ours.code) == {bases[half]: "my-half", bases[other]: PUBLISHED[other], "--adapter": "dragon"}
    ast.parse(theirs.code)
    assert f'{module}.load_lora_adapter("dragon/export", prefix="{PREFIX[half]}"' in theirs.code
    assert theirs.file == "export/pytorch_lora_weights.safetensors"


def test_what_a_text_encoder_learned_is_fused_for_diffusers_which_does_not_load_it():
    ours, theirs = how_to_use(replace(adapter("prior"), has_text=True))
    assert ours == how_to_use(adapter("prior"))[0]
    ast.parse(theirs.code)
    assert theirs.code.startswith(
        "# First, in a shell: maquette fuse --base my-half --adapter dragon --out dragon-fused\n"
    )
    assert 'KandinskyV22PriorPipeline.from_pretrained("dragon-fused"' in theirs.code
    assert "load_lora_adapter" not in theirs.code


def test_new_tokens_of_a_prior_are_called_by_their_word_and_fused_for_diffusers():
    file = Export("export/dragon_emb.safetensors", "embedding", 1, tensors=("emb_params",), of="kandinsky22_prior")
    tokens = {"TOK": ["<s0>", "<s1>"]}
    ours, theirs = how_to_use(replace(trained(file), example="a TOK dragon", tokens=tokens))
    assert "TOK in the prompt calls the new tokens." in ours.text
    assert shlex.split(ours.code)[2] == "a TOK dragon"
    ast.parse(theirs.code)
    assert 'prior("a <s0><s1> dragon", return_dict=False)' in theirs.code
    assert "maquette fuse --base my-half --adapter dragon --out dragon-fused" in theirs.code


def test_a_whole_half_takes_the_place_of_the_published_one():
    for pipeline, flag in (("KandinskyV22PriorPipeline", "--prior"), ("KandinskyV22Pipeline", "--base")):
        ours, theirs = how_to_use(folder(pipeline))
        assert flags(ours.code)[flag] == "dragon/export/model"
        ast.parse(theirs.code)
        assert f'{pipeline}.from_pretrained("dragon/export/model"' in theirs.code


def test_a_whole_model_is_used_as_ever():
    whole = folder("StableDiffusionPipeline")
    assert how_to_use(whole) == usages(whole)
    assert how_to_use(trained()) == []
