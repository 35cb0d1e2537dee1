"""Pretraining at its smallest: the tokenizer, the networks, equal latents, and a stage that resumes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from maquette.embedded import autoencoding, denoising, models, pretrain
from maquette.embedded.bank import SHARD, draw_bank, open_bank
from maquette.embedded.scene import scene_at
from maquette.embedded.stage import run_stage
from maquette.embedded.tokenizer import MAX_LENGTH, learn_merges, new_tokenizer
from maquette.errors import DataError
from maquette.types import ImageCode


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    images = torch.randint(0, 256, (12, 3, 16, 16), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    return autoencoding.to_pixels(images.numpy())


@pytest.fixture(scope="module")
def vae() -> torch.nn.Module:
    return models.new_autoencoder(5)


def test_every_word_of_a_caption_is_one_token_and_any_other_text_still_has_tokens() -> None:
    tokenizer = new_tokenizer()
    text = denoising.caption_at(7, seed=0, step=0)
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ,", ",").strip() == text.lower()
    assert len(ids) == len(text.replace(",", " ,").replace("-", " - ").split()) + 2
    assert tokenizer.unk_token_id not in tokenizer("zyzzyva 42 ü")["input_ids"][1:-1]
    assert tokenizer.model_max_length == MAX_LENGTH


def test_merges_are_the_most_frequent_pairs_first() -> None:
    pieces, merges = learn_merges(["abc", "abd", "xbd"])
    assert merges[0] == ("a", "b")  # twice, as is ("b", "d</w>"), but first in the alphabet
    assert {"abc</w>", "abd</w>", "xbd</w>"} <= set(pieces)


def test_the_base_has_the_shapes_of_stable_diffusion(vae: torch.nn.Module) -> None:
    base = pretrain.new_base(vae, seed=0)
    code = base.encode_images(torch.zeros(2, 3, 64, 64), torch.zeros(2, 6, dtype=torch.long))
    cond = base.embed_text(base.tokenize(["a red mug", ""]))
    output = base.predict(code.mean, torch.tensor([1.0, 999.0]), cond)
    assert code.mean.shape == output.shape == (2, models.LATENTS, 16, 16)
    assert cond["context"].shape == (2, MAX_LENGTH, models.WIDTH)
    assert base.default_size == (64, 64)


def test_untrained_networks_are_a_function_of_the_seed() -> None:
    torch.manual_seed(123)
    one = models.new_denoiser(1).state_dict()
    torch.rand(5)
    two, other = models.new_denoiser(1).state_dict(), models.new_denoiser(2).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["conv_in.weight"], other["conv_in.weight"])


def test_equal_latents_change_no_decoded_picture(pixels: torch.Tensor) -> None:
    vae = models.new_autoencoder(5)
    with torch.no_grad():
        before = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
        posterior = vae.encode(pixels).latent_dist
        relative = posterior.std / posterior.mean.std((0, 2, 3), keepdim=True)
        autoencoding.standardise(vae, pixels)
        latents = vae.encode(pixels).latent_dist
        after = vae.decode(latents.mode()).sample
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)  # two 1x1 convolutions were rescaled in fp32
    torch.testing.assert_close(latents.mean.mean((0, 2, 3)), torch.zeros(models.LATENTS), rtol=0, atol=1e-4)
    torch.testing.assert_close(latents.mean.std((0, 2, 3)), torch.ones(models.LATENTS), rtol=1e-3, atol=0)
    torch.testing.assert_close(latents.std, relative, rtol=1e-3, atol=0)


def test_coarse_error_is_that_of_averages() -> None:
    pixels = torch.zeros(1, 3, 8, 8)
    checks = torch.zeros_like(pixels)
    checks[..., ::2, :] = 1.0
    checks[..., 1::2, :] = -1.0
    coarse, square = autoencoding.COARSE_WEIGHT, autoencoding.SQUARE_WEIGHT
    assert autoencoding.picture_error(checks, pixels).item() == pytest.approx(1 + square)  # its averages are right
    flat = 0.5 + square * 0.25 + coarse * 0.5
    assert autoencoding.picture_error(pixels + 0.5, pixels).item() == pytest.approx(flat)


def test_a_stage_that_stops_and_goes_on_ends_where_the_whole_one_does(tmp_path: Path, pixels: torch.Tensor) -> None:
    images = ((pixels + 1) * 127.5).round().to(torch.uint8).contiguous().numpy()

    def stage(file: Path, stop_at: int | None) -> None:
        vae = models.new_autoencoder(5)
        torch.manual_seed(torch.seed() % 1000)
        run = run_stage(
            file,
            pretrain.whole({"autoencoder": vae}, 1e-3),
            autoencoding.autoencoding(vae),
            autoencoding.picture_batches(images, 2, seed=9),
            steps=4,
            seed=9,
            save_every=2,
        )
        for stats in run:
            if stats.step == stop_at:
                break

    stage(tmp_path / "whole.safetensors", None)
    stage(tmp_path / "parts.safetensors", 3)  # saved after 2
    stage(tmp_path / "parts.safetensors", None)
    whole, parts = load_file(tmp_path / "whole.safetensors"), load_file(tmp_path / "parts.safetensors")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_captioned_batches_show_every_picture_once_an_epoch_with_words_drawn_afresh() -> None:
    total, size = 12, 4
    marked = torch.arange(total).view(-1, 1, 1, 1).expand(-1, 6, 4, 4).half()
    codes = ImageCode(marked, torch.zeros_like(marked), {})
    texts: list[str] = []

    def tokenize(captions: list[str]) -> dict[str, torch.Tensor]:
        texts.extend(captions)
        return {"text_encoder": torch.zeros(len(captions), 3, dtype=torch.long)}

    batches_at = denoising.captioned_batches(codes, tokenize, size, seed=1)
    shown = [int(key) for step in range(3) for key in batches_at(step)[0].code.mean[:, 0, 0, 0]]
    assert sorted(shown) == list(range(total))
    assert texts == [denoising.caption_at(key, 1, i // size) for i, key in enumerate(shown)]
    again = [int(key) for step in range(3, 6) for key in batches_at(step)[0].code.mean[:, 0, 0, 0]]
    assert sorted(again) == list(range(total))
    assert again != shown


def test_a_bank_is_whole_shards_of_the_scenes_of_its_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="multiple"):
        next(draw_bank(tmp_path, SHARD + 1, "train", workers=1))
    with pytest.raises(DataError, match="missing"):
        open_bank(tmp_path, SHARD, "train")
    assert scene_at(0, "train") != scene_at(0, "judge")


def test_sharpening_the_decoder_leaves_the_encoder_as_it_is(pixels: torch.Tensor) -> None:
    vae = models.new_autoencoder(5)
    batch = autoencoding.PictureBatch(pixels[:2], torch.full((2,), 0.5), torch.zeros(2, dtype=torch.long))
    autoencoding.decoding(vae, lambda latents: vae.decode(latents).sample)(
        batch, torch.Generator().manual_seed(0)
    ).sum().backward()
    moved = {name.partition(".")[0] for name, param in vae.named_parameters() if param.grad is not None}
    assert moved == {"decoder", "post_quant_conv"}
