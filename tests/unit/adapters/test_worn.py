import copy

import pytest
import torch
from tests.unit.adapters import small

from maquette.adapters.attach import attach
from maquette.adapters.delta import Dense, Place, Update
from maquette.adapters.export import export_both
from maquette.adapters.keys import layout_of
from maquette.adapters.targets import leaves
from maquette.adapters.worn import Worn, fuse, worn
from maquette.config.schema import RunConfig
from maquette.errors import ConfigError


def trained(kind, **more):
    return small.updates(small.trained(small.models(), {"kind": kind, "rank": 4, **more}))


def output(models):
    with torch.no_grad():
        return small.forward(models)


def input_lengths():
    weight = leaves(small.models().modules["denoiser"])["mid_block.resnets.0.conv1"].weight
    return {
        Place("denoiser", "mid_block.resnets.0.conv1"): Update(
            Dense(0.1 * torch.ones_like(weight)), torch.ones(16), "in"
        )
    }


COMBINATIONS = {
    "two of a kind": [("lora", 1.0), ("lora", 0.5)],
    "lora then dora": [("lora", 0.7), ("dora", 1.0)],
    "dora then lora": [("dora", 1.0), ("lora", -0.5)],
    "loha, lokr and lora": [("loha", 1.0), ("lokr", 0.3), ("lora", 1.0)],
    "what no layer expresses": [("input lengths", 1.0), ("lora", 1.0)],
}


@pytest.mark.parametrize("combination", COMBINATIONS.values(), ids=COMBINATIONS)
def test_several_adapters_together_are_the_fused_base_and_come_off_without_a_trace(combination):
    adapters = [Worn(input_lengths() if kind == "input lengths" else trained(kind), s) for kind, s in combination]
    models = small.models()
    bare, state = output(models), copy.deepcopy(models.modules["denoiser"].state_dict())
    wanting = [param.requires_grad for param in models.modules["denoiser"].parameters()]
    fused = copy.deepcopy(models)
    fuse(fused.modules, adapters)
    with worn(models.modules, adapters):
        together = output(models)
    torch.testing.assert_close(together, output(fused), rtol=1e-4, atol=1e-5)
    assert (together - bare).abs().max() > 1e-3
    assert torch.equal(output(models), bare)
    after = models.modules["denoiser"].state_dict()
    assert after.keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in after.items())
    assert [param.requires_grad for param in models.modules["denoiser"].parameters()] == wanting
    assert not hasattr(models.modules["denoiser"], "peft_config")


def test_strength_zero_is_the_base_and_strength_acts_on_text_too():
    models, delta = small.models(), trained("lora")
    for module in models.modules.values():
        module.requires_grad_(False)
    bare = output(models)
    with worn(models.modules, [Worn(delta, 0.0)]):
        assert torch.equal(output(models), bare)
    only_text = {place: update for place, update in delta.items() if place.module == "text_encoder"}
    outputs = []
    for strength in (0.5, 1.0):
        with worn(models.modules, [Worn(only_text, strength)]):
            outputs.append(output(models))
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], bare)


def test_an_error_inside_still_takes_them_off():
    models = small.models()
    bare = output(models)
    with pytest.raises(ZeroDivisionError), worn(models.modules, [Worn(trained("dora"))]):
        raise ZeroDivisionError
    assert torch.equal(output(models), bare)


def continued(tmp_path, adapter, **file):
    delta = trained(file.pop("kind", adapter["kind"]), **file)
    paths = export_both(tmp_path, delta, layout_of(small.models().modules), small.ABOUT)
    config = {"adapter": {"rank": 4, **adapter, "start_from": paths["kohya"]}, "text_encoder": {"train": "lora"}}
    models = small.models()
    run = RunConfig.model_validate(config)
    attach(run, models, steps=10, weight_decay=0.0, rng=torch.Generator().manual_seed(7))
    return delta, models


@pytest.mark.parametrize("kind", ["lora", "dora", "loha", "lokr"])
@pytest.mark.parametrize("alpha", [4.0, 1.0])
def test_training_continues_from_a_file_at_the_alpha_of_the_new_run(kind, alpha, tmp_path):
    delta, models = continued(tmp_path, {"kind": kind, "lora_alpha": alpha})
    reference = small.models()
    with worn(reference.modules, [Worn(delta)]):
        expected = output(reference)
    torch.testing.assert_close(output(models), expected, rtol=1e-4, atol=1e-6)
    if kind in ("lora", "dora"):
        layer = models.modules["denoiser"].get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1.to_q")
        assert layer.scaling["default"] == alpha / 4


@pytest.mark.parametrize("other", [{"kind": "dora"}, {"rank": 2}, {"targets": ["to_q"]}])
def test_a_file_of_another_shape_cannot_be_continued(other, tmp_path):
    with pytest.raises(ConfigError, match=r"adapter\.start_from: .* of rank 4"):
        continued(tmp_path, {"kind": "lora"}, **other)
