"""New rows behind a frozen table: all that a transformers model with a longer table computes, and its gradient."""

import copy

import pytest
import torch
from diffusers import DiffusionPipeline
from tests.contract import tiny
from torch import nn
from transformers import CLIPTextModelWithProjection

from maquette.errors import ModelError
from maquette.families.load import load_family
from maquette.families.vocabulary import grown_tables, make_one_table, table_of, with_tokens

WORDS = {"TOK": ["<s0>", "<s1>"], "HAT": ["<s2>"]}
PROMPTS = ["a photo of TOK dog", "a TOK dog on the HAT beach"]


def rows_for(family):
    rng = torch.Generator().manual_seed(5)
    return {name: torch.randn(3, table_of(family, name).shape[1], generator=rng) for name in family.tokenizers}


def longer(encoder, first, rows):
    """A copy of the encoder whose own table has the rows at its end, as transformers makes it."""
    whole = copy.deepcopy(encoder)
    whole.resize_token_embeddings(first + len(rows), mean_resizing=False)
    with torch.no_grad():
        whole.get_input_embeddings().weight[first:] = rows
    return whole


@pytest.mark.parametrize("kind", ["sd1", "sd2-v", "sdxl"])
def test_states_end_tokens_and_gradients_are_those_of_a_longer_table(kind):
    base = tiny.RECIPES[kind]()
    rows = rows_for(base)
    wholes = {name: longer(base.modules[name], len(t), rows[name]) for name, t in base.tokenizers.items()}
    family = with_tokens(base, WORDS, rows)
    ids = family.tokenize(PROMPTS)
    for name, whole in wholes.items():
        encoder, table = family.modules[name], grown_tables(family)[name]
        encoder.requires_grad_(False)
        table.new.weight.requires_grad_()
        states = []
        for model in (encoder, whole):
            out = model(ids[name], output_hidden_states=True)
            pooled = out.text_embeds if isinstance(model, CLIPTextModelWithProjection) else out.pooler_output
            states.append((*out.hidden_states, pooled))
            (pooled.square().sum() + out.hidden_states[-2].square().sum()).backward()
        assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))
        gradient = whole.get_input_embeddings().weight.grad
        first = len(base.tokenizers[name])
        torch.testing.assert_close(table.new.weight.grad, gradient[first:], rtol=1e-5, atol=1e-7)
        assert table.table.weight.grad is None
        assert bool(table.new.weight.grad.abs().sum(1).gt(0).all())


def test_a_prompt_becomes_exactly_its_new_tokens_and_the_base_keeps_its_own():
    base = tiny.sdxl()
    before, known = (
        base.embed_text(base.tokenize(["a photo of a dog"])),
        {k: len(t) for k, t in base.tokenizers.items()},
    )
    family = with_tokens(base, WORDS, rows_for(base))
    for name, tokenizer in family.tokenizers.items():
        first = known[name]
        plain = base.tokenizers[name]("a photo of dog")["input_ids"]
        assert tokenizer("a photo of <s0><s1> dog")["input_ids"] == [*plain[:4], first, first + 1, *plain[4:]]
        assert tokenizer("<s0><s1>")["input_ids"][1:-1] == [first, first + 1]
        said = family.tokenize(["a photo of TOK dog"])[name][0]
        assert said.tolist()[: len(plain) + 2] == [*plain[:4], first, first + 1, *plain[4:]]
        assert len(base.tokenizers[name]) == first  # the base's own tokenizer does not learn of them
    after = family.embed_text(family.tokenize(["a photo of a dog"]))
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_the_end_token_is_read_where_it_stands_and_not_at_the_highest_id():
    """Configs of the published models say eos_token_id = 2, at which transformers takes the highest id of a prompt."""
    rows = rows_for(tiny.sdxl())
    right, wrong = tiny.sdxl(), tiny.sdxl()
    wrong.text_encoder_2.text_model.eos_token_id = 2
    pooled = {}
    for name, base in (("right", right), ("wrong", wrong)):
        family = with_tokens(base, WORDS, rows)
        ids = family.tokenize(["a photo of TOK dog"])
        pooled[name] = family.embed_text(ids)["pooled"]
        ends = (ids["text_encoder_2"][0] == base.tokenizer_2.eos_token_id).nonzero()
        states = family.text_encoder_2(ids["text_encoder_2"], output_hidden_states=True).last_hidden_state
        at_end = family.text_encoder_2.text_projection(states[:, int(ends[0])])
        assert torch.allclose(pooled[name], at_end, atol=1e-6) == (name == "right")
    assert not torch.allclose(pooled["right"], pooled["wrong"], atol=1e-3)


def test_a_model_in_half_precision_keeps_it_and_its_rows_stay_fp32():
    base = tiny.sd1()
    base.text_encoder.to(torch.bfloat16)
    family = with_tokens(base, WORDS, rows_for(base))
    assert family.text_encoder.dtype == torch.bfloat16  # pipelines ask the encoder, which asks its first parameter
    assert grown_tables(family)["text_encoder"].new.weight.dtype == torch.float32
    assert family.embed_text(family.tokenize(PROMPTS))["context"].dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_a_model_saved_with_its_tokens_is_read_by_diffusers_and_by_us(kind, tmp_path):
    base = tiny.RECIPES[kind]()
    family = with_tokens(base, WORDS, rows_for(base))
    expected = family.embed_text(family.tokenize(["a photo of TOK dog"]))
    make_one_table(family)
    assert grown_tables(family) == {}
    family.pipeline().save_pretrained(tmp_path)
    again = load_family(tmp_path)
    found = again.embed_text(again.tokenize(["a photo of <s0><s1> dog"]))
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    pipeline = DiffusionPipeline.from_pretrained(tmp_path)
    for name, tokenizer in family.tokenizers.items():
        encoder = getattr(pipeline, name)
        assert encoder.config.eos_token_id == tokenizer.eos_token_id
        assert encoder.config.vocab_size == len(tokenizer) == encoder.get_input_embeddings().num_embeddings
    settings = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
    told = pipeline.encode_prompt("a photo of <s0><s1> dog", **settings)
    torch.testing.assert_close(told[0], expected["context"])
    if kind == "sdxl":
        torch.testing.assert_close(told[2], expected["pooled"])


def test_a_table_with_unused_rows_gives_its_own_to_the_tokens():
    words = tiny.tokenizer()
    spare = tiny.text_encoder(words, vocab_size=len(words) + 10)
    base = tiny.sd1().__class__(tiny.unet(), tiny.vae(), spare, words, tiny.ddim())
    rows = rows_for(base)
    family = with_tokens(base, WORDS, rows)
    looked_up = family.text_encoder.get_input_embeddings()(family.tokenize(["TOK"])["text_encoder"])
    assert torch.equal(looked_up[0, 1:3], rows["text_encoder"][:2])
    make_one_table(family)
    table = family.text_encoder.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    assert table.num_embeddings == len(words) + 10
    assert torch.equal(table.weight[len(words) : len(words) + 3], rows["text_encoder"])


def test_a_token_that_the_base_has_is_refused():
    with pytest.raises(ModelError, match="dog</w> already"):
        with_tokens(tiny.sd1(), {"TOK": ["dog</w>"]}, {"text_encoder": torch.zeros(1, 32)})
