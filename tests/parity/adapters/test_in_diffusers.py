"""Our files through the loaders of diffusers' own pipelines: they must compute what was trained."""

import copy

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from tests.unit.adapters import small

from maquette.adapters.export import export_both
from maquette.adapters.keys import layout_of

EVERYTHING = "attention+feed_forward+convolutions"


def pipeline(models):
    """A pipeline over the models, as far as loading adapters needs one."""
    common = {
        "vae": None,
        "tokenizer": None,
        "scheduler": DDIMScheduler(steps_offset=1, clip_sample=False),
        "unet": models.modules["denoiser"],
    }
    if models.name == "sdxl":
        texts = {name: models.modules[name] for name in ("text_encoder", "text_encoder_2")}
        return StableDiffusionXLPipeline(**common, **texts, tokenizer_2=None)
    none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return StableDiffusionPipeline(**common, text_encoder=models.modules["text_encoder"], **none)


@pytest.mark.parametrize(
    ("kind", "adapter", "dialects"),
    [
        ("sd1", {"kind": "lora", "rank": 4, "lora_alpha": 2.0}, ["kohya", "diffusers"]),
        ("sd1", {"kind": "lora", "targets": EVERYTHING, "rslora": True, "lora_alpha": 2.0}, ["diffusers"]),
        ("sd2", {"kind": "lora", "targets": "attention+feed_forward", "rank_pattern": {"mid_block": 3}}, ["diffusers"]),
        ("sd1", {"kind": "dora", "targets": EVERYTHING, "lora_alpha": 8.0}, ["diffusers"]),
        ("sdxl", {"kind": "lora", "targets": "attention+feed_forward", "lora_alpha": 8.0}, ["kohya", "diffusers"]),
        ("sdxl", {"kind": "dora", "lora_alpha": 8.0}, ["diffusers"]),
    ],
)
def test_pipelines_compute_what_was_trained(kind, adapter, dialects, tmp_path):
    models = small.models(kind)
    base, plain = copy.deepcopy(models), small.forward(models).detach()
    trainable = small.trained(models, adapter)
    trained = small.forward(models).detach()
    paths = export_both(tmp_path, small.updates(trainable), layout_of(models.modules), small.ABOUT)
    assert (trained - plain).abs().max() > 0.01
    for dialect in dialects:
        fresh = copy.deepcopy(base)
        pipe = pipeline(fresh)
        pipe.load_lora_weights(paths[dialect])
        with torch.no_grad():
            # The scale may be multiplied in elsewhere: rounding of fp32 through some 30 layers.
            torch.testing.assert_close(small.forward(fresh), trained, rtol=1e-4, atol=1e-5)
