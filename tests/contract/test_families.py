"""What every family promises, on a tiny random checkpoint of each kind."""

import pytest
import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file
from tests.contract import tiny

from maquette.adapters.base import ParamGroup
from maquette.adapters.full import Full, unfreeze
from maquette.diffusion.weighting import uniform
from maquette.errors import DataError
from maquette.families import vae as autoencoder
from maquette.families.base import Family
from maquette.families.load import FAMILIES, detect
from maquette.families.sd import StableDiffusion
from maquette.training.loop import Progress, train
from maquette.training.objective import denoising
from maquette.training.seeds import rng_at
from maquette.types import ImageCode, TrainBatch

KINDS = list(tiny.RECIPES)
PROMPTS = ["a photo of sks dog", "a red cat on the beach, !"]


@pytest.fixture(params=KINDS)
def family(request):
    return tiny.RECIPES[request.param]()


@pytest.fixture(params=tiny.STABLE_DIFFUSION)
def stable_diffusion(request):
    return tiny.RECIPES[request.param]()


def pixels(n=2):
    return torch.rand(n, 3, tiny.SIZE, tiny.SIZE, generator=torch.Generator().manual_seed(5)) * 2 - 1


def geometry(n=2):
    return torch.tensor([[1337, 911, 7, 3, 16, 16], [16, 16, 0, 0, 16, 16]])[:n]


def conditioning(family, prompts=PROMPTS):
    with torch.no_grad():
        code = family.encode_images(pixels(len(prompts)), geometry(len(prompts)))
        return code, {**code.cond, **family.embed_text(family.tokenize(prompts))}


def test_every_family_of_the_table_has_a_recipe(tmp_path):
    named = {detect(tiny.save(kind, tmp_path / kind)) for kind in KINDS}
    assert named == set(FAMILIES)


@torch.no_grad()
def test_shapes(family):
    assert isinstance(family, Family)
    assert family.default_size == (tiny.SIZE, tiny.SIZE)
    assert family.default_size[0] % family.size_multiple == 0
    code, cond = conditioning(family)
    factor = family.latent_factor
    assert code.mean.shape[2:] == ((tiny.SIZE // factor,) * 2 if factor else ())
    assert code.std is None or code.std.shape == code.mean.shape
    assert all(value.shape[0] == 2 for value in cond.values())
    output = family.predict(code.mean, torch.tensor([1.0, 500.0]), cond)
    assert output.shape == code.mean.shape
    assert torch.isfinite(output).all()


def test_no_tokens_give_no_conditioning_and_no_captions_are_refused(family):
    assert family.embed_text({}) == {}
    with pytest.raises(DataError, match="no caption"):
        family.tokenize([])


@torch.no_grad()
def test_the_same_inputs_give_the_same_bits(family):
    t = torch.tensor([1.0, 500.0])
    (first, cond), (second, cond_again) = conditioning(family), conditioning(family)
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.draw(rng_at(0, 0)), second.draw(rng_at(0, 0)))
    assert torch.equal(family.predict(first.mean, t, cond), family.predict(second.mean, t, cond_again))


@torch.no_grad()
def test_pictures_come_back_through_the_autoencoders_own_scale(stable_diffusion):
    family = stable_diffusion
    code = family.encode_images(pixels(), geometry())
    latents = family.vae.encode(pixels()).latent_dist.mean
    # One multiplication and one division lie between the two, so fp32 rounding of them is allowed for.
    torch.testing.assert_close(
        autoencoder.decode(family.vae, code.mean), family.vae.decode(latents).sample, rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_codes_survive_the_cache(family, tmp_path):
    code = family.encode_images(pixels(), geometry())
    std = {} if code.std is None else {"std": code.std}
    save_file({"mean": code.mean, **std, **{f"cond.{k}": v for k, v in code.cond.items()}}, tmp_path / "c")
    saved = load_file(tmp_path / "c")
    cond = {name.removeprefix("cond."): value for name, value in saved.items() if name.startswith("cond.")}
    again = ImageCode(saved["mean"], saved.get("std"), cond)
    assert torch.equal(code.draw(rng_at(0, 0)), again.draw(rng_at(0, 0)))
    assert code.cond.keys() == again.cond.keys()
    assert all(torch.equal(code.cond[name], again.cond[name]) for name in cond)


def test_the_loss_at_fixed_noise_falls_through_the_loop(family):
    code, cond = conditioning(family)
    text = {name: value for name, value in cond.items() if name not in code.cond}
    std = None if code.std is None else code.std.detach()
    kept = ImageCode(code.mean.detach(), std, {**code.cond, **text})
    batch = TrainBatch(kept, {}, torch.full((2,), 0.5), torch.zeros(2, dtype=torch.long))
    params = unfreeze(family.modules["denoiser"])
    trainable = Full("denoiser", params, ParamGroup("denoiser", list(params.values()), lr=1e-3))
    objective = denoising(family, uniform)

    @torch.no_grad()
    def probe():
        return torch.stack([objective(batch, rng_at(9, i)).mean() for i in range(4)]).mean()

    before = probe()
    optimizer = torch.optim.AdamW(params.values(), lr=1e-3)
    for _ in train(
        trainable,
        objective,
        lambda _: [batch],
        optimizer,
        lambda _: 1.0,
        Progress(),
        steps=12,
        rng_at=lambda step, micro: rng_at(0, step, micro),
        max_grad_norm=1.0,
    ):
        pass
    # A dozen steps from random weights on two pictures; a network that does not learn stays where it is.
    assert probe() < 0.9 * before


def encoded_by_pipeline(family, prompt, **settings):
    if not family.tokenizers:
        return {}
    pipeline = family.pipeline()
    if family.name == "kandinsky-prior":
        embeds, states, mask = pipeline._encode_prompt([prompt], "cpu", 1, False)
        return {"text_embeds": embeds, "text_states": states, "text_mask": mask}
    if family.name == "sdxl":
        context, _, pooled, _ = pipeline.encode_prompt(prompt, device="cpu", **settings)
        return {"context": context, "pooled": pooled}
    context, _ = pipeline.encode_prompt(prompt, "cpu", 1, True, **settings)
    return {"context": context}


@torch.no_grad()
@pytest.mark.parametrize("prompt", [*PROMPTS, "", "dog " * 100], ids=["short", "pad", "empty", "long"])
def test_text_is_what_the_pipeline_makes_of_it(family, prompt):
    ours, theirs = family.embed_text(family.tokenize([prompt])), encoded_by_pipeline(family, prompt)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


@torch.no_grad()
def test_the_denoiser_gets_what_the_pipeline_gives_it(family):
    pipeline, calls = family.pipeline(), []
    hook = family.modules["denoiser"].register_forward_hook(
        lambda _, args, kwargs, output: calls.append((args, kwargs, output[0])), with_kwargs=True
    )
    pipeline.set_progress_bar_config(disable=True)
    rng = torch.Generator().manual_seed(0)
    size = torch.tensor([[tiny.SIZE, tiny.SIZE, 0, 0, tiny.SIZE, tiny.SIZE]])
    asked = {"num_inference_steps": 2, "guidance_scale": 1.0, "generator": rng}
    if family.name == "kandinsky-prior":
        pipeline(PROMPTS[0], **asked)
    elif family.name == "kandinsky-decoder":
        embeds = family.encode_images(pixels(1), size).cond["image_embeds"]
        pipeline(embeds, embeds, tiny.SIZE, tiny.SIZE, output_type="latent", **asked)
    else:
        pipeline(PROMPTS[0], output_type="latent", **asked)
    hook.remove()
    args, kwargs, output = calls[0]
    x, t = args[0] if args else kwargs["sample"], args[1] if len(args) > 1 else kwargs["timestep"]
    cond = {**family.encode_images(pixels(1), size).cond, **family.embed_text(family.tokenize(PROMPTS[:1]))}
    assert torch.equal(family.predict(x, t.reshape(1).float(), cond), output[:, : x.shape[1]])


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_saved_folder_loads_into_the_same_model(kind, tmp_path):
    family, loaded = tiny.RECIPES[kind](), tiny.load(kind, tmp_path)
    assert not any(module.training for module in loaded.modules.values())
    for name, module in family.modules.items():
        ours, theirs = module.state_dict(), loaded.modules[name].state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    t = torch.tensor([1.0, 500.0])
    (code, cond), (code_again, cond_again) = conditioning(family), conditioning(loaded)
    assert torch.equal(family.predict(code.mean, t, cond), loaded.predict(code_again.mean, t, cond_again))
    ours, theirs = (described.diffusion.path(torch.tensor([0.1, 0.7])) for described in (family, loaded))
    assert torch.equal(ours.sigma, theirs.sigma)
    affine, affine_again = family.diffusion.parametrization(ours), loaded.diffusion.parametrization(theirs)
    assert torch.equal(affine.target_eps, affine_again.target_eps)


def test_pipelines_do_not_complain_of_a_plain_scheduler():
    fields = {name: getattr(tiny.sd1(), name) for name in StableDiffusion.__slots__}
    family = StableDiffusion(**{**fields, "scheduler": DDPMScheduler()})
    config = family.pipeline().scheduler.config  # warnings are errors in tests
    assert (config["steps_offset"], config["clip_sample"]) == (1, False)
    assert family.scheduler.config["steps_offset"] == 0
