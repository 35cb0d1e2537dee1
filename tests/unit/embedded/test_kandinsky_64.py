"""A small Kandinsky of the world: its CLIP, its autoencoder, its two halves, and what is published of them."""

import os

import numpy as np
import pytest
import torch
from diffusers import KandinskyV22Pipeline, KandinskyV22PriorPipeline
from diffusers.models.attention_processor import SpatialNorm
from safetensors.torch import load_file
from tests.contract.tiny import combined
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from maquette.embedded import autoencoding, bank, judging, kandinsky, kandinsky_clip, kandinsky_movq, pretrain, publish
from maquette.embedded import kandinsky_models as models
from maquette.embedded.autoencoding import PictureBatch
from maquette.embedded.captions import caption
from maquette.embedded.keys import rng_for
from maquette.embedded.render import render
from maquette.embedded.scene import scene_at
from maquette.embedded.sittings import embedded_base
from maquette.errors import CheckpointError
from maquette.families import text
from maquette.families.kandinsky import vision
from maquette.families.load import load_family
from maquette.generation.sample import Request, painter, to_picture
from maquette.training.seeds import rng_at
from maquette.types import ImageCode

PICTURES = 8
TRAINED = {
    "clip": kandinsky.train_clip,
    "movq": kandinsky.train_movq,
    "decoder": kandinsky.train_decoder,
    "prior": kandinsky.train_prior,
}


def part(steps):
    return pretrain.Part(steps=steps, batch_size=2, lr=1e-2, seed=7)


def pictures(n, side=64, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (n, 3, side, side), dtype=np.uint8)


@pytest.fixture(scope="module")
def base():
    return embedded_base("maquette-64")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A work folder in which every part has made two steps, on a bank of eight pictures of noise."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "bank").mkdir()
    np.save(folder / "bank" / "train-0000.npy", pictures(PICTURES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bank, "SHARD", PICTURES)
        patch.setattr(pretrain, "PICTURES", PICTURES)
        for name in ("clip", "movq", "codes", "decoder", "prior"):
            list(kandinsky.encode(folder) if name == "codes" else TRAINED[name](folder, part(2)))
        yield folder


@pytest.fixture(scope="module")
def published(work):
    out = work / "published"
    publish.publish("kandinsky-64", work, out)
    return out


def test_the_contrast_is_clips_own():
    similarity = torch.randn(6, 6, generator=rng_at(0, 0))
    torch.testing.assert_close(judging.contrast(similarity).mean(), image_text_contrastive_loss(similarity))


@torch.no_grad()
def test_pairs_are_told_apart_by_the_cosines_of_what_both_encoders_make_of_them(base):
    clip = kandinsky.new_clip(base)
    (batch,) = kandinsky_clip.pair_batches(
        pictures(4), lambda words: text.tokenize(base.tokenizer, words), batch_size=4, seed=5
    )(0)
    ours = kandinsky_clip.pairing(clip)(batch, rng_at(0, 1))
    seen = clip.images(pixel_values=judging.moved(batch.pixels, rng_at(0, 1))).image_embeds
    read = clip.texts(batch.ids).text_embeds  # with all of its padding
    cosines = torch.nn.functional.cosine_similarity(seen[:, None], read[None], dim=2)
    torch.testing.assert_close(ours.mean(), image_text_contrastive_loss(cosines / judging.START_TEMPERATURE))


def test_a_pair_is_a_picture_and_words_of_its_own_scene(base):
    marked = np.zeros((6, 3, 4, 4), dtype=np.uint8) + np.arange(6, dtype=np.uint8).reshape(-1, 1, 1, 1)
    said = []
    batches_at = kandinsky_clip.pair_batches(
        marked, lambda words: said.extend(words) or text.tokenize(base.tokenizer, words), batch_size=3, seed=5
    )
    shown = [round((float(value) + 1) * 127.5) for step in (0, 1) for value in batches_at(step)[0].pixels[:, 0, 0, 0]]
    assert sorted(shown) == list(range(6))
    assert said == [
        caption(scene_at(key, "train"), rng_for("clip", 5, step, key))
        for step in (0, 1)
        for key in shown[3 * step : 3 * step + 3]
    ]


@torch.no_grad()
def test_the_image_encoder_is_shown_the_pictures_as_they_are():
    pixels = torch.from_numpy(pictures(2)).float() / 127.5 - 1
    processor, encoder = models.new_image_processor(), models.new_image_encoder(1)
    torch.testing.assert_close(vision.prepare(processor, pixels), pixels, rtol=0, atol=1e-6)
    assert vision.crop_side(processor) == encoder.config.image_size == 64
    assert encoder(pixel_values=pixels).image_embeds.shape == (2, 128)


def test_networks_start_from_the_bases_weights(base):
    unet = models.new_denoiser(1, base.unet)
    ours, theirs = unet.state_dict(), base.unet.state_dict()
    same = [name for name in ours if name in theirs and torch.equal(ours[name], theirs[name])]
    assert sum(ours[name].numel() for name in same) > 0.5 * sum(value.numel() for value in ours.values())
    assert torch.equal(unet.conv_out.weight[:14], base.unet.conv_out.weight)
    texts = models.new_text_encoder(1, base.text_encoder)
    ids = text.tokenize(base.tokenizer, ["a red mug on the beach"])
    with torch.no_grad():
        assert torch.equal(texts(ids).last_hidden_state, base.text_encoder(ids).last_hidden_state)


@torch.no_grad()
def test_the_movqs_latents_are_the_bases_and_its_pictures_close_to_the_bases(base):
    movq = kandinsky_movq.new_movq(1, base.vae)
    pixels = kandinsky.to_pixels(np.stack([np.asarray(render(scene_at(key, "train"), 64)) for key in range(2)]))
    pixels = pixels.permute(0, 3, 1, 2).contiguous()
    latents = movq.encode(pixels).latents
    torch.testing.assert_close(latents, base.vae.encode(pixels).latent_dist.mean, rtol=1e-4, atol=1e-4)
    for norm in (module for module in movq.modules() if isinstance(module, SpatialNorm)):
        norm.norm_layer.num_groups = 8
        for layer in (norm.conv_y, norm.conv_b):
            layer.weight.zero_()
    plain = movq.decode(latents, force_not_quantize=True).sample  # norms as the base has them: the base's own picture
    torch.testing.assert_close(plain, base.vae.decode(latents).sample, rtol=1e-3, atol=1e-3)


def test_the_codebook_and_the_encoder_are_left_alone(base):
    movq = kandinsky_movq.new_movq(1, base.vae)
    decode = lambda latents: movq.decode(latents, force_not_quantize=True).sample  # noqa: E731
    pixels = torch.from_numpy(pictures(1)).float() / 127.5 - 1
    batch = PictureBatch(pixels, torch.ones(1), torch.zeros(1, dtype=torch.long))
    autoencoding.decoding(base.vae, decode)(batch, rng_at(0, 0)).sum().backward()
    moved = {name for name, param in movq.named_parameters() if param.grad is not None}
    assert moved == {name.removeprefix("movq.") for name, _ in movq.named_parameters() if "decoder" in name} | {
        "post_quant_conv.weight", "post_quant_conv.bias"
    }  # fmt: skip


def test_one_embedding_in_ten_gives_way_to_none():
    codes = ImageCode(torch.zeros(40, 2, 1, 1), None, {"image_embeds": torch.arange(1.0, 41.0).view(-1, 1)})
    batches_at = kandinsky.embedded_batches(codes, torch.full((1, 1), -1.0), batch_size=20, seed=3)
    told = torch.cat([batches_at(step)[0].code.cond["image_embeds"] for step in range(100)]).flatten()
    assert (told == -1).float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert set(told.tolist()) == {-1.0, *range(1, 41)}


@pytest.mark.parametrize("name", list(TRAINED))
def test_every_part_goes_on_from_its_file_as_if_it_had_never_stopped(work, tmp_path, name):
    (tmp_path / kandinsky.FILES).mkdir()
    (tmp_path / "bank").symlink_to(work / "bank")
    for other in ("clip", "codes"):
        if other != name:
            file = f"{kandinsky.FILES}/{other}.safetensors"
            (tmp_path / file).symlink_to(work / file)
    first = [tick.loss for tick in TRAINED[name](tmp_path, part(1))]
    then = [tick.loss for tick in TRAINED[name](tmp_path, part(2))]
    assert len(first) == len(then) == 1
    once = load_file(work / kandinsky.FILES / f"{name}.safetensors")
    twice = load_file(tmp_path / kandinsky.FILES / f"{name}.safetensors")
    assert once.keys() == twice.keys()
    assert all(torch.equal(once[key], twice[key]) for key in once)


def test_codes_are_kept_until_what_makes_them_goes_on(work):
    files = work / kandinsky.FILES
    made = files / "codes.safetensors"
    before, stamp = load_file(made), made.stat().st_mtime_ns
    list(kandinsky.encode(work))
    assert made.stat().st_mtime_ns == stamp
    os.utime(files / "clip.safetensors")
    list(kandinsky.encode(work))
    assert made.stat().st_mtime_ns > stamp
    after = load_file(made)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_parts_are_asked_for_in_their_order(tmp_path):
    for early in (kandinsky.train_prior, kandinsky.train_decoder, kandinsky.encode):
        with pytest.raises(CheckpointError, match="not there yet"):
            list(early(tmp_path))


@torch.no_grad()
def test_published_halves_open_here_and_in_diffusers(work, published):
    assert sorted(path.name for path in published.iterdir()) == ["decoder", "prior", "training.json"]
    decoder = load_family(published / "decoder", prior=str(published / "prior"))
    prior = load_family(published / "prior", decoder=str(published / "decoder"))
    assert (decoder.name, prior.name) == ("kandinsky-decoder", "kandinsky-prior")
    assert decoder.default_size == prior.default_size == (64, 64)
    theirs, embedding = (
        KandinskyV22Pipeline.from_pretrained(published / "decoder"),
        KandinskyV22PriorPipeline.from_pretrained(published / "prior"),
    )
    pairs = ((decoder.unet, theirs.unet), (decoder.movq, theirs.movq), (prior.prior, embedding.prior))
    for ours, other in (*pairs, (prior.image_encoder, embedding.image_encoder)):
        assert all(torch.equal(value, other.state_dict()[name].float()) for name, value in ours.state_dict().items())

    # Both of what their training normalised and what the published prior does: mean 0, deviation 1.
    embeds = load_file(work / kandinsky.FILES / "codes.safetensors")["image_embeds"]
    normal = prior.spread(embeds)
    torch.testing.assert_close(normal.mean(0), torch.zeros(128), rtol=0, atol=1e-2)
    torch.testing.assert_close(normal.std(0), torch.ones(128), rtol=1e-2, atol=0)
    torch.testing.assert_close(prior.prior.post_process_latents(normal), embeds, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_picture_is_that_of_diffusers_combined(published):
    family = load_family(published / "decoder", prior=str(published / "prior"))
    with painter(family) as paint:
        ours = paint(
            Request(
                prompt="a red mug", seed=3, steps=2, guidance=3.0, prior_guidance=2.0, prior_steps=2, scheduler="ddpm"
            )
        )
    theirs = combined(family)
    made = theirs(
        "a red mug",
        num_inference_steps=2,
        guidance_scale=3.0,
        prior_guidance_scale=2.0,
        prior_num_inference_steps=2,
        height=64,
        width=64,
        generator=torch.Generator().manual_seed(3),
        output_type="pt",
        callback_steps=None,  # whose default diffusers itself warns of
    ).images
    assert torch.equal(ours, to_picture(made[0]))
