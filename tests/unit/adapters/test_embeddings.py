"""Files of new tokens: what other tools expect in them, what theirs hold, and what is refused."""

import json
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file
from tests.contract import tiny

from maquette.adapters.about import About
from maquette.adapters.embeddings import TokenSet, is_embedding, knowing, read_embeddings, write_embeddings
from maquette.adapters.keys import layout_of
from maquette.adapters.read import parts_of, read_adapter
from maquette.errors import CheckpointError, ModelError

WORDS = {"TOK": ["<s0>", "<s1>"], "HAT": ["<s2>"]}
ABOUT = About(title="mug", date="2026-01-02")
XL = {"text_encoder": torch.randn(3, 768), "text_encoder_2": torch.randn(3, 1280)}


def numbers(count, width, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def written(path, tensors, metadata=None):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    return path


def test_the_file_of_a_run_has_the_keys_that_other_tools_look_for(tmp_path):
    paths = write_embeddings(tmp_path, TokenSet(WORDS, XL, "sdxl_base_v1-0", 49407), ABOUT)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "mug_emb.safetensors",
        "embeddings/TOK.safetensors",
        "embeddings/HAT.safetensors",
    ]
    whole, tok, hat = (load_file(path) for path in paths)
    assert torch.equal(whole["clip_l"], XL["text_encoder"])
    assert torch.equal(whole["clip_g"], XL["text_encoder_2"])
    assert torch.equal(tok["clip_g"], XL["text_encoder_2"][:2])
    assert torch.equal(hat["clip_l"], XL["text_encoder"][2:])
    with safe_open(paths[0], "pt") as file:
        said = file.metadata()
    assert json.loads(said["maquette.tokens"]) == WORDS
    assert said["maquette.end_token"] == "49407"
    assert said["modelspec.architecture"] == "stable-diffusion-xl-v1-base/textual-inversion"
    assert json.loads((tmp_path / "tokens.json").read_text()) == WORDS
    assert not list(tmp_path.glob(".*"))


def test_two_tokens_of_sdxl_are_the_published_number_of_bytes(tmp_path):
    rows = {name: tensor[:2] for name, tensor in XL.items()}
    (path, _) = write_embeddings(tmp_path, TokenSet({"TOK": ["<s0>", "<s1>"]}, rows, "sdxl_base_v1-0", 49407), ABOUT)
    assert len(save(load_file(path))) - 8 - int.from_bytes(save(load_file(path))[:8], "little") == 16_384


@pytest.mark.parametrize(("version", "key"), [("sd_v1", "clip_l"), ("sd_v2", "emb_params")])
def test_a_single_encoder_has_the_name_of_its_kind(version, key, tmp_path):
    rows = numbers(3, 1024)
    path, *_ = write_embeddings(tmp_path, TokenSet(WORDS, {"text_encoder": rows}, version, 7), ABOUT)
    assert load_file(path).keys() == {key}
    read = read_embeddings(path)
    assert torch.equal(read.rows["text_encoder"], rows)
    assert read.counts == {"TOK": 2, "HAT": 1}


FOREIGN = {
    "kohya": ({"emb_params": numbers(2, 32)}, "file"),
    "onetrainer": ({"clip_l": numbers(2, 32)}, "file"),
    "diffusers": ({"<cat-toy>": numbers(2, 32)}, "<cat-toy>"),
    "a single row": ({"<cat-toy>": numbers(1, 32)[0]}, "<cat-toy>"),
}


@pytest.mark.parametrize("tool", FOREIGN)
def test_files_of_other_tools_are_called_by_their_token_or_their_name(tool, tmp_path):
    tensors, word = FOREIGN[tool]
    path = written(tmp_path / "file.safetensors", tensors)
    assert is_embedding(path)
    (tensor,) = tensors.values()
    family = knowing(tiny.sd1(), [path])
    ids = family.tokenize([f"a photo of {word} dog"])["text_encoder"]
    looked_up = family.text_encoder.get_input_embeddings()(ids)[0]
    rows = tensor.reshape(-1, 32)
    assert torch.equal(looked_up[4 : 4 + len(rows)], rows)


def test_files_of_several_runs_go_together_and_their_tokens_are_numbered_on(tmp_path):
    sets = {"MUG": numbers(2, 32, 1), "HAT": numbers(1, 32, 2)}
    paths = []
    for name, rows in sets.items():
        (tmp_path / name).mkdir()
        tokens = TokenSet({name: [f"<s{i}>" for i in range(len(rows))]}, {"text_encoder": rows}, "sd_v1", 7)
        paths.append(write_embeddings(tmp_path / name, tokens, ABOUT)[0])
    family = knowing(tiny.sd1(), paths)
    assert family.words == {"MUG": ["<s0>", "<s1>"], "HAT": ["<s2>"]}
    looked_up = family.text_encoder.get_input_embeddings()(family.tokenize(["HAT MUG"])["text_encoder"])[0]
    assert torch.equal(looked_up[1:4], torch.cat([sets["HAT"], sets["MUG"]]))
    with pytest.raises(CheckpointError, match=r'both have tokens for "MUG"'):
        knowing(tiny.sd1(), [paths[0], paths[0].parent / "embeddings" / "MUG.safetensors"])


REFUSED = {
    "another width": ({"clip_l": numbers(2, 33)}, "for another kind of base: text_encoder 33 numbers a row"),
    "another encoder": ({"clip_l": numbers(2, 32), "clip_g": numbers(2, 40)}, "another kind of base"),
    "lengths that differ": ({"clip_l": numbers(2, 32), "clip_g": numbers(3, 40)}, "not rows for the tokens"),
    "no rows": ({"clip_l": numbers(2, 32)[None]}, "not rows for the tokens"),
    "not finite": ({"clip_l": numbers(2, 32) / 0}, "not finite"),
    "the wrong count": ({"clip_l": numbers(3, 32)}, "has 3 rows, and 2 tokens by its own account"),
    "a map that is none": ({"clip_l": numbers(2, 32)}, "its map of tokens cannot be read"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_with_what_is_wrong(what, tmp_path):
    tensors, told = REFUSED[what]
    maps = {"the wrong count": json.dumps({"TOK": ["<s0>", "<s1>"]}), "a map that is none": "[1]"}
    metadata = {"maquette.tokens": maps[what]} if what in maps else None
    path = written(tmp_path / "file.safetensors", tensors, metadata)
    with pytest.raises(CheckpointError, match=re.escape(told)):
        knowing(tiny.sd1(), [path])


PICKLED = {
    "concept.pt": {  # as AUTOMATIC1111 writes it
        "string_to_token": {"*": 265},
        "string_to_param": {"*": numbers(2, 32)},
        "name": "another name",
        "step": 1000,
        "sd_checkpoint": None,
    },
    "learned_embeds.bin": {"<concept>": torch.nn.Parameter(numbers(2, 32))},  # as diffusers did
    "large.pt": {"clip_l": numbers(2, 32), "clip_g": numbers(2, 64)},
}


@pytest.mark.parametrize(
    ("file", "word"), [("concept.pt", "concept"), ("learned_embeds.bin", "<concept>"), ("large.pt", "large")]
)
def test_embeddings_that_torch_wrote_are_read(tmp_path, file, word):
    torch.save(PICKLED[file], tmp_path / file)
    path = tmp_path / file
    assert is_embedding(path)
    assert parts_of(path) == (None, path)
    read = read_embeddings(path)
    assert read.counts == {word: 2}
    assert torch.equal(read.rows["text_encoder"], numbers(2, 32))
    if file == "large.pt":
        assert torch.equal(read.rows["text_encoder_2"], numbers(2, 64))


class Acting:
    """What a file that harms would hold."""

    def __reduce__(self):
        return eval, ("1",)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read as a pickled file"), (Acting(), "is refused: it asks for"), ({"a": 1}, "no tensors")],
)
def test_pickles_that_are_more_or_less_than_tensors_are_refused(tmp_path, content, told):
    path = tmp_path / "concept.pt"
    path.write_bytes(b"anything")
    if content is not None:
        torch.save(content, path)
    assert not is_embedding(path)
    assert parts_of(path) == (path, None)
    with pytest.raises(CheckpointError, match=told):
        read_embeddings(path)
    torch.save({"string_to_param": {"*": numbers(1, 32), "+": numbers(1, 32)}}, path)
    with pytest.raises(CheckpointError, match="holds 2 embeddings"):
        read_embeddings(path)


def test_a_folder_tells_its_adapter_from_its_tokens(tmp_path):
    lora = written(
        tmp_path / "mug.safetensors", {"lora_unet_x.lora_up.weight": numbers(2, 2), "lora_unet_x.alpha": torch.ones(1)}
    )
    tokens = written(tmp_path / "mug_emb.safetensors", {"clip_l": numbers(2, 32)})
    assert parts_of(tmp_path) == (lora, tokens)
    assert parts_of(lora) == (lora, None)
    assert parts_of(tokens) == (None, tokens)
    lora.unlink()
    assert parts_of(tmp_path) == (None, tokens)
    written(tmp_path / "other.safetensors", {"emb_params": numbers(2, 32)})
    with pytest.raises(
        CheckpointError, match=r"several files of new tokens \(mug_emb.safetensors, other.safetensors\)"
    ):
        parts_of(tmp_path)


def test_tokens_are_not_taken_for_an_adapter(tmp_path):
    path = written(tmp_path / "mug_emb.safetensors", {"clip_l": numbers(2, 32)})
    with pytest.raises(CheckpointError, match="holds the rows of new tokens, and no adapter"):
        read_adapter(path, layout_of(tiny.sd1().modules))


def test_tokens_that_the_base_has_already_are_refused(tmp_path):
    base = tiny.sd1()
    words = base.with_vocabulary(
        {
            "text_encoder": knowing(
                tiny.sd1(), [written(tmp_path / "a.safetensors", {"clip_l": numbers(1, 32)})]
            ).tokenizer
        },
        {},
    )
    with pytest.raises(ModelError, match="has the tokens <s0> already"):
        knowing(words, [tmp_path / "a.safetensors"])
