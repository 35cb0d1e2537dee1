"""Runs of Kandinsky's prior: what is left behind, and what diffusers makes of it."""

import pytest
import torch
from diffusers import KandinskyV22PriorPipeline
from PIL import Image
from safetensors.torch import load_file
from tests.learning.small import PROMPT, events, maquette, paint, train

from maquette.adapters.keys import layout_of
from maquette.adapters.read import read_adapter
from maquette.adapters.worn import Worn, worn
from maquette.config.load import load_config
from maquette.errors import ConfigError, ModelError
from maquette.families.load import load_family
from maquette.planning.plan import plan
from maquette.runs.events import Scored, Step, Warned


@pytest.fixture
def photos(tmp_path):
    return paint(tmp_path / "photos")


def embedded(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(PROMPT, num_inference_steps=3, generator=torch.Generator().manual_seed(4))
    return made.image_embeds


def test_an_adapter_of_a_prior_is_the_same_in_diffusers(photos, bases, tmp_path):
    base = bases("kandinsky-prior")
    run = train(photos, base, tmp_path / "dog", validation__every=1, preview__every=1)
    exported = run.export / "pytorch_lora_weights.safetensors"
    names = set(load_file(exported))
    assert len(names) == 2 * 4 * 2  # two matrices for each of four projections in two blocks
    assert all(name.startswith("prior.transformer_blocks.") for name in names)
    assert all(name.startswith("lora_prior_transformer_blocks_") for name in load_file(run.export / "dog.safetensors"))
    theirs = KandinskyV22PriorPipeline.from_pretrained(base)
    untouched = embedded(theirs)
    theirs.prior.load_lora_adapter(run.export, prefix="prior", weight_name=exported.name, use_safetensors=True)
    family = load_family(base)
    layout = layout_of(family.modules)
    for file in (exported, run.export / "dog.safetensors"):
        with worn(family.modules, [Worn(read_adapter(file, layout).delta, 1.0)]):
            torch.testing.assert_close(embedded(family.pipeline()), embedded(theirs), rtol=1e-5, atol=1e-5)
    assert (embedded(theirs) - untouched).abs().max() > 1e-3

    log = events(run)
    assert len(log.of(Scored)) == 4  # of step 0 and of each step
    assert sum("No previews are made" in event.message for event in log.of(Warned)) == 1
    assert not run.previews.exists()
    assert run.report.exists()
    assert "KandinskyV22PriorPipeline" in run.card.read_text()


def test_a_whole_prior_is_a_folder_that_diffusers_opens(photos, bases, tmp_path):
    base = bases("kandinsky-prior")
    half = {"model__precision": "bf16", "model__decoder": str(bases("kandinsky-decoder")), "preview__every": 3}
    run = train(photos, base, tmp_path / "dog", adapter__kind="full", loss__weighting__kind="min_snr", **half)
    first, last = (Image.open(run.previews / f"step-{step:06d}-prompt-00-seed-0.png") for step in (0, 3))
    assert first.tobytes() != last.tobytes()
    assert first.getextrema() != last.getextrema() or any(low < high for low, high in last.getextrema())
    opened = KandinskyV22PriorPipeline.from_pretrained(run.export / "model")
    ours, before = load_family(run.export / "model"), load_family(base)
    torch.testing.assert_close(embedded(opened), embedded(ours.pipeline()), rtol=1e-5, atol=1e-5)
    trained = {
        name for name, value in ours.prior.named_parameters() if not value.equal(before.prior.get_parameter(name))
    }
    assert trained == {name for name, _ in ours.prior.named_parameters()} - {"clip_mean", "clip_std"}


def test_previews_of_a_prior_with_a_decoder_are_pictures_of_what_it_learned(photos, bases, tmp_path):
    base, decoder = bases("kandinsky-prior"), bases("kandinsky-decoder")
    settings = {"model__decoder": str(decoder), "text_encoder__train": "lora"}
    run = train(photos, base, tmp_path / "dog", preview__every=3, **settings)
    first, last = (run.previews / f"step-{step:06d}-prompt-00-seed-0.png" for step in (0, 3))
    assert first.read_bytes() != last.read_bytes()
    told = {"PROMPT": PROMPT, "--base": decoder, "--prior": base, "--adapter": run.root, "--out": tmp_path / "made"}
    flags = [part for name, value in told.items() for part in ((name, value) if name.startswith("-") else (value,))]
    assert maquette("generate", *flags, "--steps", 2) == 0
    [made] = [path for path in (tmp_path / "made").glob("*.png") if path.name != "grid.png"]
    with Image.open(made) as generated, Image.open(last) as preview:
        assert generated.tobytes() == preview.tobytes()

    assert maquette("fuse", "--base", base, "--adapter", run.root, "--out", tmp_path / "fused") == 0
    theirs, family = KandinskyV22PriorPipeline.from_pretrained(tmp_path / "fused"), load_family(base)
    delta = read_adapter(run.root, layout_of(family.modules)).delta
    assert {place.module for place in delta} == {"denoiser", "text_encoder"}
    with worn(family.modules, [Worn(delta)]):
        torch.testing.assert_close(embedded(theirs), embedded(family.pipeline()), rtol=1e-4, atol=1e-5)


def test_the_other_half_is_refused_where_it_means_nothing(bases):
    prior = str(bases("kandinsky-prior"))
    with pytest.raises(ModelError, match=r"model\.prior: means nothing to this base, a StableDiffusionPipeline"):
        load_family(bases("sd1"), prior=prior)
    with pytest.raises(ModelError, match=r"model\.decoder .* is a KandinskyV22PriorPipeline, and no decoder"):
        load_family(prior, decoder=prior)


def test_a_run_of_a_prior_goes_on_bit_for_bit(photos, bases, tmp_path):
    base = bases("kandinsky-prior")
    whole = train(photos, base, tmp_path / "whole", training__steps=4)
    half = train(photos, base, tmp_path / "half", training__steps=2)
    train(photos, base, tmp_path / "half", training__steps=4, resume=True)
    one, other = (load_file(run.export / "pytorch_lora_weights.safetensors") for run in (whole, half))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [event.loss for event in events(whole).of(Step)] == [event.loss for event in events(half).of(Step)]


def test_what_means_nothing_to_vectors_is_refused_with_all_of_it(photos, bases, tmp_path):
    settings = {"loss__noise_offset": 0.1, "output__single_file": True, "adapter__kind": "full"}
    with pytest.raises(ConfigError, match=r"(?s)noise_offset: .* one vector.*single_file: there is no layout"):
        train(photos, bases("kandinsky-prior"), tmp_path / "dog", **settings)
    with pytest.raises(ModelError, match="PriorTransformer has no way to do it"):
        train(photos, bases("kandinsky-prior"), tmp_path / "cat", training__gradient_checkpointing=True)


def test_a_prior_is_planned(photos, bases, tmp_path):
    flags = {"SOURCE": photos, "--base": bases("kandinsky-prior"), "--prompt": PROMPT}
    told = plan(load_config(flags=flags, sets=["adapter.rank=2", "training.steps=5"]), tmp_path / "dog")
    sizes = [param.numel() for param in load_family(bases("kandinsky-prior")).prior.parameters()]
    assert [group.parameters for group in told.groups] == [2 * 8 * (32 + 32)]
    assert told.memory
    assert told.teraflop > 0
    assert sum(sizes) > told.groups[0].parameters
