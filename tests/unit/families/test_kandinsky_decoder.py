"""The decoder of Kandinsky 2.2 against diffusers' pipelines, schedulers and the formulae of its training example."""

import copy

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    KandinskyV22Pipeline,
    UNet2DConditionModel,
)
from tests.contract import tiny

from maquette.adapters.about import About
from maquette.adapters.convert import convert, fuse_into
from maquette.adapters.delta import LowRank, Place, Update
from maquette.adapters.export import export_both
from maquette.adapters.keys import layout_of
from maquette.adapters.read import read_adapter
from maquette.adapters.targets import leaves, select
from maquette.adapters.worn import Worn, worn
from maquette.data.cache import Cache
from maquette.data.encode import encoders
from maquette.diffusion.weighting import min_snr, uniform
from maquette.errors import ConfigError, ModelError
from maquette.families.load import load_family
from maquette.generation.sample import Request, painter, to_picture
from maquette.training.objective import denoising, drawn
from maquette.training.seeds import rng_at
from maquette.types import ImageCode, TrainBatch

PROMPT, NEGATIVE = "a photo of sks dog", "a red cat"
PUBLISHED = {
    "sample_size": 64,
    "out_channels": 8,
    "down_block_types": ("ResnetDownsampleBlock2D", *("SimpleCrossAttnDownBlock2D",) * 3),
    "up_block_types": (*("SimpleCrossAttnUpBlock2D",) * 3, "ResnetUpsampleBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "block_out_channels": (384, 768, 1152, 1536),
    "layers_per_block": 3,
    "cross_attention_dim": 768,
    "encoder_hid_dim": 1280,
    "encoder_hid_dim_type": "image_proj",
    "addition_embed_type": "image",
    "attention_head_dim": 64,
    "resnet_time_scale_shift": "scale_shift",
}
"""The denoiser's config in kandinsky-community/kandinsky-2-2-decoder, as far as it departs from diffusers' defaults."""


@pytest.fixture
def family():
    return tiny.kandinsky_decoder()


def pixels(n=2):
    return torch.rand(n, 3, tiny.SIZE, tiny.SIZE, generator=torch.Generator().manual_seed(5)) * 2 - 1


def encoded(family, n=2):
    with torch.no_grad():
        return family.encode_images(pixels(n), torch.zeros(n, 6, dtype=torch.long))


def some_update(family, module, seed):
    """A LoRA of rank 2 on all attention of one module, with factors that do something."""
    rng = torch.Generator().manual_seed(seed)
    known = leaves(family.modules[module])
    delta = {}
    for path in select(family.modules[module], "attention"):
        out, into = known[path].weight.shape
        factors = LowRank(torch.randn(out, 2, generator=rng), torch.randn(2, into, generator=rng), 0.25)
        delta[Place(module, path)] = Update(factors)
    return delta


def test_the_published_decoder_has_132_attention_layers():
    with torch.device("meta"):
        unet = UNet2DConditionModel(**PUBLISHED)
    known, chosen = leaves(unet), select(unet, "attention")
    assert len(chosen) == len(select(unet, "attention+feed_forward")) == 132
    assert sum(sum(known[path].weight.shape) for path in chosen) == 291_072
    assert sum(param.numel() for param in unet.parameters()) == 1_253_057_288
    assert {path.rsplit(".attentions.0.")[-1] for path in chosen if path.startswith("mid_block")} == {
        *("to_q", "to_k", "to_v", "add_k_proj", "add_v_proj", "to_out.0")
    }
    assert layout_of({"denoiser": unet}).version == "kandinsky22_decoder"


@torch.no_grad()
def test_latents_are_the_movqs_own_and_embeddings_the_image_encoders(family):
    code = encoded(family)
    assert torch.equal(code.mean, family.movq.encode(pixels()).latents)
    assert code.std is None
    pictures = [to_picture(picture).permute(1, 2, 0).numpy() for picture in pixels()]
    prepared = family.prior.image_processor(pictures, return_tensors="pt").pixel_values
    embeds = family.prior.image_encoder(prepared).image_embeds
    torch.testing.assert_close(code.cond["image_embeds"], embeds, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gamma", [None, 5.0])
def test_a_step_is_that_of_diffusers_example(family, gamma):
    # train_text_to_image_decoder.py: add_noise, the first channels of the output, squared error, min(SNR, gamma) / SNR.
    family.unet.double()
    code = encoded(family)
    code = ImageCode(code.mean.double(), None, {name: value.double() for name, value in code.cond.items()})
    batch = TrainBatch(code, {}, torch.full((2,), 0.5), torch.zeros(2, dtype=torch.long))
    ours = denoising(family, uniform if gamma is None else min_snr(gamma))(batch, rng_at(0, 3))
    x0, u, eps = drawn(batch, rng_at(0, 3))
    scheduler = DDPMScheduler.from_config(family.scheduler.config)
    t = (u * len(scheduler.alphas_cumprod)).long()
    x_t = scheduler.add_noise(x0, eps, t)
    output = family.unet(x_t.double(), t, None, added_cond_kwargs=dict(code.cond)).sample
    assert output.shape[1] == 8
    theirs = (output[:, :4].float() - eps.float()).square().flatten(1).mean(1)
    if gamma is not None:
        alphas = scheduler.alphas_cumprod[t]
        snr = alphas / (1 - alphas)
        theirs = theirs * snr.clamp(max=gamma) / snr
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("negative", "scheduler"), [("", "ddpm"), (NEGATIVE, "ddpm"), (NEGATIVE, None)])
@torch.no_grad()
def test_pictures_are_those_of_the_combined(family, negative, scheduler):
    request = Request(
        prompt=PROMPT, seed=3, negative=negative, steps=3, guidance=3.0, prior_guidance=2.0, prior_steps=3,
        scheduler=scheduler, size=(16, 24),
    )  # fmt: skip
    with painter(family) as paint:
        ours = paint(request)
    plain = {key: value for key, value in family.scheduler.config.items() if key != "variance_type"}
    theirs = tiny.combined(family, None if scheduler else DPMSolverMultistepScheduler.from_config(plain))
    asked = {"prior_guidance_scale": 2.0, "prior_num_inference_steps": 3, "guidance_scale": 3.0}
    made = theirs(
        PROMPT,
        negative or None,
        num_inference_steps=3,
        height=16,
        width=24,
        generator=torch.Generator().manual_seed(3),
        output_type="pt",
        callback_steps=None,  # whose default diffusers itself warns of
        **asked,
    ).images
    assert ours.shape == (3, 16, 24)
    assert torch.equal(ours, to_picture(made[0]))


@torch.no_grad()
def test_adapters_of_both_halves_are_worn_together(family, tmp_path):
    def painted():
        with painter(family) as paint:
            return paint(Request(prompt=PROMPT, seed=0, steps=2, prior_steps=2))

    before = painted()
    made, prior = [], family.prior
    for subject, module, name in ((family, "denoiser", "drawn"), (prior, "denoiser", "meant")):
        delta = some_update(subject, module, seed=1)
        paths = export_both(tmp_path / name, delta, layout_of(subject.modules), About(title=name))
        made += [read_adapter(path, layout_of(family.modules)).delta for path in paths.values()]
    assert {place.module for delta in made[:2] for place in delta} == {"denoiser"}
    assert {place.module for delta in made[2:] for place in delta} == {"prior"}
    with worn(family.modules, [Worn(made[0])]):
        one = painted()
    with worn(family.modules, [Worn(made[0]), Worn(made[2])]):
        both = painted()
    assert not torch.equal(before, one)
    assert not torch.equal(one, both)
    assert torch.equal(painted(), before)


@torch.no_grad()
def test_an_exported_lora_opens_in_diffusers(family, tmp_path):
    delta = some_update(family, "denoiser", seed=2)
    export_both(tmp_path, delta, layout_of(family.modules), About(title="dog"))
    cond, x, t = encoded(family).cond, torch.randn(2, 4, 8, 8), torch.tensor([3.0, 500.0])
    before = family.predict(x, t, cond)
    with worn(family.modules, [Worn(delta)]):
        ours = family.predict(x, t, cond)
    theirs = copy.deepcopy(family.unet)
    theirs.load_lora_adapter(tmp_path, prefix="unet", weight_name="pytorch_lora_weights.safetensors")
    output = theirs(x, t, None, added_cond_kwargs=dict(cond)).sample[:, :4]
    torch.testing.assert_close(output, ours, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours, before, rtol=1e-2)


@torch.no_grad()
def test_adapters_are_fused_and_converted_without_their_run(family, tmp_path):
    decoder, prior = tiny.save("kandinsky-decoder", tmp_path / "d"), tiny.save("kandinsky-prior", tmp_path / "p")
    delta = some_update(family, "denoiser", seed=2)
    paths = export_both(tmp_path / "dog", delta, layout_of(family.modules), About(title="dog"))
    fuse_into(str(decoder), [(paths["kohya"], 1.0)], tmp_path / "fused", prior=str(prior))
    cond, x, t = encoded(family).cond, torch.randn(2, 4, 8, 8), torch.tensor([3.0, 500.0])
    fused = load_family(tmp_path / "fused", prior=str(prior))
    with worn(family.modules, [Worn(delta)]):
        torch.testing.assert_close(fused.predict(x, t, cond), family.predict(x, t, cond), rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="no layout of one file for this base"):
        fuse_into(str(decoder), [(paths["kohya"], 1.0)], tmp_path / "one.safetensors", prior=str(prior))

    both = some_update(family.prior, "denoiser", 3) | some_update(family.prior, "text_encoder", 4)
    meant = export_both(tmp_path / "word", both, layout_of(family.prior.modules), About(title="word"))
    with pytest.raises(ConfigError, match=r"word\.safetensors: changes the prior .* with the prior as its --base"):
        fuse_into(str(decoder), [(meant["kohya"], 1.0)], tmp_path / "lost", prior=str(prior))
    assert not (tmp_path / "lost").exists()
    for base, file in ((decoder, paths["kohya"]), (prior, meant["kohya"])):
        read = convert(file, tmp_path / f"{file.stem}-converted.safetensors", "diffusers", base=str(base))
        assert len(read.delta) == (len(both) if base == prior else len(delta))


@torch.no_grad()
def test_its_folder_opens_in_diffusers(family, tmp_path):
    family.pipeline().save_pretrained(tmp_path)
    theirs = KandinskyV22Pipeline.from_pretrained(tmp_path)
    for ours, other in ((family.unet, theirs.unet), (family.movq, theirs.movq)):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in ours.state_dict().items())
    assert theirs.scheduler.config["variance_type"] == "learned_range"


def test_the_prior_plays_no_part_in_what_pictures_are_encoded_to(family):
    other = tiny.kandinsky_decoder()
    with torch.no_grad():
        other.prior.prior.proj_in.weight.add_(1)
        other.prior.text_encoder.text_projection.weight.add_(1)
    keys = [encoders(each, Cache(), torch.device("cpu")).image_key for each in (family, other)]
    assert keys[0] == keys[1]
    with torch.no_grad():
        other.prior.image_encoder.visual_projection.weight.add_(1)
    assert encoders(other, Cache(), torch.device("cpu")).image_key != keys[0]


def test_what_does_not_fit_is_refused(tmp_path):
    decoder, prior = tiny.save("kandinsky-decoder", tmp_path / "d"), str(tiny.save("kandinsky-prior", tmp_path / "p"))
    with pytest.raises(ModelError, match=r"lies in its prior\. Name that"):
        load_family(decoder)
    with pytest.raises(ModelError, match=r"model\.prior .*: is a KandinskyV22Pipeline, and no prior"):
        load_family(decoder, prior=str(decoder))
    with pytest.raises(ModelError, match="a decoder reads no text"):
        load_family(decoder, prior=prior, clip_skip=1)
    with pytest.raises(ModelError, match="has a MoVQ of its own"):
        load_family(decoder, prior=prior, vae=str(decoder / "movq"))
