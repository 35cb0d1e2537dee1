"""The prior of Kandinsky 2.2 against diffusers' pipeline, schedulers and the formulae of its training example."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, KandinskyV22PriorPipeline, UnCLIPScheduler
from PIL import Image
from tests.contract import tiny

from maquette.config.schema import RunConfig
from maquette.data.cache import Cache
from maquette.data.dataset import build
from maquette.data.encode import encoders
from maquette.data.gather import gather
from maquette.diffusion.scheduler import alphas_cumprod, read_scheduler
from maquette.diffusion.weighting import min_snr, uniform
from maquette.errors import ModelError
from maquette.families.kandinsky.prior import KandinskyPrior, Spread
from maquette.families.load import load_family
from maquette.training.objective import denoising, drawn
from maquette.training.seeds import rng_at
from maquette.types import ImageCode, TrainBatch

PROMPTS = ["a photo of sks dog!", "a red cat, on the beach"]
SAMPLER = {"_class_name": "UnCLIPScheduler", "prediction_type": "sample", "clip_sample_range": 5.0}


@pytest.fixture
def family():
    return tiny.kandinsky_prior()


def pictures(n=2, height=16, width=16, seed=3):
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)) for _ in range(n)]


def as_pixels(images):
    return torch.stack([torch.tensor(np.asarray(image)).permute(2, 0, 1).float() / 127.5 - 1 for image in images])


def test_the_schedule_is_that_of_its_sampler():
    torch.testing.assert_close(
        alphas_cumprod({"beta_schedule": "squaredcos_cap_v2"}), UnCLIPScheduler().alphas_cumprod, rtol=0, atol=0
    )
    u = torch.tensor([0.0, 0.5, 0.9995])
    level = read_scheduler(SAMPLER).path(u)
    torch.testing.assert_close(level.snr, torch.tensor([24208.5, 0.969609, 2.429e-9]), rtol=1e-3, atol=0)
    affine = read_scheduler(SAMPLER).parametrization(level)
    assert torch.equal(min_snr(5.0)(level, affine), level.snr.clamp(max=5))


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(16, 16), (40, 23), (9, 31)])
def test_pictures_are_embedded_as_the_pipeline_embeds_them(family, height, width):
    images = pictures(height=height, width=width)
    prepared = family.image_processor(images, return_tensors="pt").pixel_values
    embeds = family.image_encoder(prepared).image_embeds
    code = family.encode_images(as_pixels(images), torch.zeros(2, 6, dtype=torch.long))
    torch.testing.assert_close(family.prior.post_process_latents(code.mean), embeds, rtol=1e-5, atol=1e-5)
    clip_mean, clip_std = family.prior.clip_mean, family.prior.clip_std
    torch.testing.assert_close(code.mean, (embeds - clip_mean) / clip_std, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [(48, 64), (60, 40), (36, 64)])
def test_a_picture_of_any_shape_is_shown_as_sharp_as_the_pipeline_shows_the_file(family, tmp_path, size):
    """CLIP's preparation shrinks the whole file; had it to enlarge what training made of it, details would be lost."""
    (picture,) = pictures(1, *size)
    picture.save(tmp_path / "a.png")
    run = RunConfig.model_validate({"data": {"folder": tmp_path, "prompt": "a dog"}})
    seen = []
    family.image_encoder.register_forward_pre_hook(
        lambda *given: seen.append(given[2]["pixel_values"]), with_kwargs=True
    )
    build(run, gather(run).usable(), family, None, torch.device("cpu")).still(0)
    theirs = family.image_processor(picture, return_tensors="pt").pixel_values
    assert torch.corrcoef(torch.stack([seen[0].flatten(), theirs.flatten()]))[0, 1] > 0.98


@pytest.mark.parametrize("pad", ["!", "<|endoftext|>"])
def test_what_is_read_of_a_text_is_what_the_tokenizer_says(pad):
    family = tiny.kandinsky_prior()
    words = tiny.tokenizer(pad)
    family = family.with_vocabulary({"text_encoder": words}, {})
    texts = [*PROMPTS, "", "!", "dog " * 100]
    padded = words(texts, padding="max_length", truncation=True, return_tensors="pt")
    assert torch.equal(family.embed_text(family.tokenize(texts))["text_mask"], padded["attention_mask"].bool())


@pytest.mark.parametrize("gamma", [None, 5.0])
def test_the_loss_of_a_step_is_that_of_the_training_example(family, gamma):
    for module in family.modules.values():
        module.double()
    code = family.encode_images(as_pixels(pictures()), torch.zeros(2, 6, dtype=torch.long))
    weight, concept = torch.ones(2), torch.zeros(2, dtype=torch.long)
    batch = TrainBatch(ImageCode(code.mean.double(), None, {}), family.tokenize(PROMPTS), weight, concept)
    with torch.no_grad():
        loss = denoising(family, uniform if gamma is None else min_snr(gamma))(batch, rng_at(0, 1))

    # The example's formulae: DDPM noise on a cosine schedule, the clean embedding as target, min(SNR, gamma).
    x0, u, noise = drawn(batch, rng_at(0, 1))
    steps = (u * 1000).long()
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample")
    noisy = scheduler.add_noise(x0.double(), noise.double(), steps)
    words = family.tokenizer(PROMPTS, padding="max_length", truncation=True, return_tensors="pt")
    with torch.no_grad():
        texts = family.text_encoder(words.input_ids)
        predicted = family.prior(
            noisy,
            steps,
            proj_embedding=texts.text_embeds,
            encoder_hidden_states=texts.last_hidden_state,
            attention_mask=words.attention_mask.bool(),
        ).predicted_image_embedding
    alphas = scheduler.alphas_cumprod[steps].double()
    weights = torch.ones(2) if gamma is None else (alphas / (1 - alphas)).clamp(max=gamma)
    error = (predicted - x0).square().mean(1)
    torch.testing.assert_close(loss.double(), weights * error, rtol=1e-5, atol=1e-7)


def test_a_prior_that_predicts_the_embedding_has_no_loss(family, monkeypatch):
    code = family.encode_images(as_pixels(pictures()), torch.zeros(2, 6, dtype=torch.long))
    batch = TrainBatch(code, family.tokenize(PROMPTS), torch.ones(2), torch.zeros(2, dtype=torch.long))
    monkeypatch.setattr(KandinskyPrior, "predict", lambda *_: code.mean)
    assert torch.equal(denoising(family, min_snr(5.0))(batch, rng_at(0, 0)), torch.zeros(2))


@torch.no_grad()
def test_sampling_through_predict_is_the_pipelines(family):
    pipeline = family.pipeline()
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(PROMPTS[0], num_inference_steps=4, guidance_scale=4.0, generator=torch.Generator().manual_seed(7))

    rng = torch.Generator().manual_seed(7)
    scheduler = UnCLIPScheduler.from_config(family.scheduler.config)
    scheduler.set_timesteps(4)
    cond = family.embed_text(family.tokenize(["", PROMPTS[0]]))
    x = torch.randn(1, 24, generator=rng)
    steps = [*scheduler.timesteps, None]
    for t, following in pairwise(steps):
        without, told = family.predict(torch.cat([x, x]), t.float().expand(2), cond).chunk(2)
        guided = without + 4.0 * (told - without)
        x = scheduler.step(guided, t, x, prev_timestep=following, generator=rng).prev_sample
    torch.testing.assert_close(family.prior.post_process_latents(x), theirs.image_embeds, rtol=1e-5, atol=1e-5)


def test_codes_of_priors_that_normalise_differently_are_kept_apart(family):
    other = tiny.kandinsky_prior()
    keys = [encoders(one, Cache(), torch.device("cpu")).image_key for one in (family, other)]
    assert keys[0] == keys[1]
    with torch.no_grad():
        other.prior.clip_std.mul_(2)
    object.__setattr__(other, "spread", Spread(other.prior))
    assert encoders(other, Cache(), torch.device("cpu")).image_key != keys[0]


def test_diffusers_opens_what_is_saved(family, tmp_path):
    tiny.save("kandinsky-prior", tmp_path / "prior")
    opened = KandinskyV22PriorPipeline.from_pretrained(tmp_path / "prior")
    prompt, steps = PROMPTS[0], {"num_inference_steps": 2}
    made = []
    for pipeline in (family.pipeline(), opened):
        pipeline.set_progress_bar_config(disable=True)
        made.append(pipeline(prompt, **steps, generator=torch.Generator().manual_seed(1)).image_embeds)
    torch.testing.assert_close(*made, rtol=1e-5, atol=1e-5)
    assert '"CLIPImageProcessor"' in (tmp_path / "prior" / "model_index.json").read_text()


def test_parts_of_different_models_are_refused(family):
    fields = {name: getattr(family, name) for name in KandinskyPrior.__slots__ if name != "spread"}
    with pytest.raises(ModelError, match="predicts 24 numbers, and its image encoder makes 16"):
        KandinskyPrior(**{**fields, "image_encoder": tiny.image_encoder(width=16)})
    with pytest.raises(ModelError, match=r"cuts pictures to 24x24 .* and its image encoder takes 16x16"):
        KandinskyPrior(**{**fields, "image_processor": tiny.image_processor(24)})


def test_settings_that_a_prior_has_no_use_for_are_refused(tmp_path):
    folder = tiny.save("kandinsky-prior", tmp_path / "prior")
    with pytest.raises(ModelError, match="clip_skip = 1"):
        load_family(folder, clip_skip=1)
    with pytest.raises(ModelError, match="a prior has no autoencoder"):
        load_family(folder, vae=str(folder))
