import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from tests.contract import tiny
from tests.unit.adapters import small
from tests.unit.adapters.test_targets import SD1, SDXL

from maquette.adapters.delta import Place
from maquette.adapters.keys import denoiser_spellings, layout_of, text_spellings
from maquette.adapters.targets import leaves, select
from maquette.families.ldm import ldm_path


def meta_unet(config):
    with torch.device("meta"):
        return UNet2DConditionModel(**config)


# Names as they stand in files of kohya's trainer for the published models, by diffusers' paths.
GOLDEN = json.loads(Path(__file__).with_name("golden_keys.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("config", "golden"), [(SD1, GOLDEN["sd1"]), (SDXL, GOLDEN["sdxl"])], ids=["sd1", "sdxl"])
def test_golden_names_of_the_published_unets(config, golden):
    layout = layout_of({"denoiser": meta_unet(config)})
    names = {place.path: name for place, name in layout.kohya.items()}
    assert {path: names[path] for path in golden} == golden
    assert len(set(names.values())) == len(names)


def test_golden_names_of_text_encoders():
    alone, two = layout_of(small.models("sd1").modules), layout_of(small.models("sdxl").modules)
    inside = "encoder_layers_1_self_attn_q_proj"
    assert f"lora_te_text_model_{inside}" in alone.kohya.values()
    assert {f"lora_te1_text_model_{inside}", f"lora_te2_text_model_{inside}"} < set(two.kohya.values())
    assert "lora_te2_text_projection" in two.kohya.values()
    assert "text_encoder.text_model.encoder.layers.1.mlp.fc1" in alone.diffusers.values()
    assert "text_encoder_2.text_projection" in two.diffusers.values()


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_no_spelling_means_two_layers(kind):
    modules = small.models(kind).modules
    config = modules["denoiser"].config
    spelled = [
        name for path in leaves(modules["denoiser"]) for name in set(denoiser_spellings(path, ldm_path(path, config)))
    ]
    texts = [name for name in modules if name != "denoiser"]
    for module in texts:
        for path in leaves(modules[module]):
            spelled += set(text_spellings(module, path.removeprefix("text_model."), alone=len(texts) == 1))
    assert [name for name, count in Counter(spelled).items() if count > 1] == []
    layout = layout_of(modules)
    assert set(spelled) == set(layout.aliases)
    assert all(layout.aliases[name] == place for place, name in (layout.kohya | layout.diffusers).items())
    assert all(layout.aliases[name] == place for place, name in layout.diffusers.items())


def test_what_is_written_of_a_half_means_that_half_also_beside_the_other():
    """A decoder and its prior both have a time_embedding.linear_1, and both files may call it unet's."""
    decoder = tiny.kandinsky_decoder()
    halves = (layout_of({"denoiser": decoder.unet}), "denoiser"), (layout_of(decoder.prior.modules), "prior")
    together = layout_of(decoder.modules)
    assert all(
        together.aliases[name] == at for written in (together.kohya, together.diffusers) for at, name in written.items()
    )
    for layout, denoiser in halves:
        named = {"denoiser": denoiser, "text_encoder": "prior_text_encoder"}
        for written in (layout.kohya, layout.diffusers):
            assert {together.aliases[name] for name in written.values()} == {
                Place(named[at.module], at.path) for at in written
            }


def test_old_spellings_of_attention_are_known():
    layout = layout_of(small.models("sd1").modules)
    block = "mid_block.attentions.0.transformer_blocks.0.attn1"
    for name in (
        f"unet.{block}.processor.to_out",
        f"{block}.processor.to_out.0",
        f"unet.{block}.to_out",
        f"{block}.to_out.0",
    ):
        assert layout.aliases[name].path == f"{block}.to_out.0"
    assert layout.aliases["text_encoder.text_model.encoder.layers.0.self_attn.to_k"].path.endswith("self_attn.k_proj")


def test_versions_follow_from_the_denoiser():
    assert layout_of({"denoiser": meta_unet(SD1)}).version == "sd_v1"
    assert layout_of({"denoiser": meta_unet({**SD1, "cross_attention_dim": 1024})}).version == "sd_v2"
    assert layout_of({"denoiser": meta_unet(SDXL)}).version == "sdxl_base_v1-0"
    assert len(select(meta_unet(SDXL), "attention+feed_forward")) == 700
