"""What is particular to SDXL and Playground: two encoders, sizes and crops, normalised latents."""

import pytest
import torch
from tests.contract import tiny

from maquette.errors import ModelError
from maquette.families.sd import StableDiffusion
from maquette.families.sdxl import StableDiffusionXL

PROMPT = "a photo of sks dog"


def parts(family):
    return {name: getattr(family, name) for name in family.__slots__}


@torch.no_grad()
@pytest.mark.parametrize("clip_skip", [1, 2])
def test_clip_skip_is_the_pipelines(clip_skip):
    family = StableDiffusionXL(**{**parts(tiny.sdxl()), "clip_skip": clip_skip})
    context, _, pooled, _ = family.pipeline().encode_prompt(PROMPT, device="cpu", clip_skip=clip_skip)
    ours = family.embed_text(family.tokenize([PROMPT]))
    assert torch.equal(ours["context"], context)
    assert torch.equal(ours["pooled"], pooled)


@torch.no_grad()
def test_clip_skip_of_one_encoder_leaves_out_a_layer_and_keeps_the_final_norm():
    plain = tiny.sd1()
    family = StableDiffusion(**{**parts(plain), "clip_skip": 1})
    ids = family.tokenize([PROMPT])["text_encoder"]
    shorter = tiny.text_encoder(plain.tokenizer, num_hidden_layers=2)
    state = plain.text_encoder.state_dict()
    shorter.load_state_dict({name: state[name] for name in shorter.state_dict()})
    assert torch.equal(family.embed_text({"text_encoder": ids})["context"], shorter(ids).last_hidden_state)


@pytest.mark.parametrize("clip_skip", [-1, 3])
def test_a_clip_skip_that_leaves_no_layer_is_refused(clip_skip):
    with pytest.raises(ModelError, match="allowed are 0 to 2"):
        StableDiffusion(**{**parts(tiny.sd1()), "clip_skip": clip_skip})


@torch.no_grad()
def test_time_ids_are_each_pictures_own():
    family = tiny.sdxl()
    geometry = torch.tensor([[1337, 911, 7, 3, 32, 24], [64, 65, 0, 1, 32, 24]])
    ids = family.encode_images(torch.zeros(2, 3, 32, 24), geometry).cond["time_ids"]
    for row, values in zip(ids, geometry.tolist(), strict=True):
        original, crop, size = (tuple(values[i : i + 2]) for i in (0, 2, 4))
        expected = family.pipeline()._get_add_time_ids(original, crop, size, torch.float32, 24)
        assert torch.equal(row[None], expected)


@torch.no_grad()
def test_time_ids_stay_exact_in_half_precision():
    family = tiny.sdxl()
    family.unet.to(torch.bfloat16)
    seen = []
    family.unet.add_time_proj.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    cond = family.embed_text(family.tokenize([PROMPT]))
    ids = family.encode_images(torch.zeros(1, 3, 32, 32), torch.tensor([[1337, 911, 0, 0, 32, 32]])).cond
    output = family.predict(torch.zeros(1, 4, 16, 16), torch.tensor([500.0]), {**cond, **ids})
    assert output.dtype is torch.bfloat16
    assert seen[0].tolist() == [1337, 911, 0, 0, 32, 32]


@torch.no_grad()
def test_the_pooled_token_is_the_end_of_the_prompt_even_behind_added_tokens():
    family = tiny.sdxl()
    words = tiny.tokenizer.__wrapped__("!")
    words.add_tokens(["<s0>"])
    torch.manual_seed(0)
    encoder = type(family.text_encoder_2)(
        tiny.text_config(words, vocab_size=len(words), hidden_size=40, hidden_act="gelu")
    ).eval()
    added = StableDiffusionXL(**{**parts(family), "text_encoder_2": encoder, "tokenizer_2": words})
    ids = added.tokenize(["a <s0> dog"])
    end = ids["text_encoder_2"][0].tolist().index(words.eos_token_id)
    assert ids["text_encoder_2"].max() > words.eos_token_id
    states = encoder.text_model(ids["text_encoder_2"]).last_hidden_state
    assert torch.equal(added.embed_text(ids)["pooled"], encoder.text_projection(states[:, end]))


@torch.no_grad()
def test_playgrounds_latents_are_normalised_by_channel():
    family = tiny.playground()
    pixels = torch.rand(1, 3, 32, 32) * 2 - 1
    code = family.encode_images(pixels, torch.zeros(1, 6, dtype=torch.long))
    posterior, config = family.vae.encode(pixels).latent_dist, family.vae.config
    mean, std = (torch.tensor(config[name]).view(1, 4, 1, 1) for name in ("latents_mean", "latents_std"))
    torch.testing.assert_close(code.mean, (posterior.mean - mean) * 0.5 / std)
    torch.testing.assert_close(code.std, posterior.std * 0.5 / std)


def test_parts_that_do_not_fit_are_refused_by_what_does_not():
    with pytest.raises(ModelError, match=r"reads 72 features a token, .* text has 32; .* extra embedding text_time"):
        StableDiffusion(**{**parts(tiny.sd1()), "unet": tiny.sdxl().unet})
    with pytest.raises(ModelError, match="for inpainting"):
        StableDiffusion(**{**parts(tiny.sd1()), "unet": tiny.unet(in_channels=9)})
