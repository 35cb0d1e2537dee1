"""Our DoRA step against peft's, which rebuilds the full product, and against the formula by autograd."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from tests.parity.adapters.layers import LAYERS, step
from torch import nn

from maquette.adapters.dora import use_gram_norms


def base(layer):
    torch.manual_seed(0)
    return nn.Sequential(LAYERS[layer]())


def adapted(layer, *, ours, dropout=0.0, dtype=torch.float32):
    config = LoraConfig(r=4, lora_alpha=2, target_modules="0", use_dora=True, lora_dropout=dropout)
    model = inject_adapter_in_model(config, base(layer).to(dtype))
    if ours:
        use_gram_norms(model[0], "default")
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, param in model.named_parameters():
            if param.requires_grad:
                change = torch.randn(param.shape, generator=rng) * 0.3
                param.data = param.float() * (1 + change) if "magnitude" in name else param.float() + change
    return model.train(mode=dropout > 0)


def inputs(layer):
    rng = torch.Generator().manual_seed(2)
    shape = (3, 7, 24) if layer.startswith("linear") else (3, 12, 8, 8)
    return torch.randn(shape, generator=rng, requires_grad=True)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("layer", ["linear", "linear without bias", "convolution", "pointwise"])
def test_forward_and_gradients_are_those_of_peft(layer, dropout):
    results = [step(adapted(layer, ours=ours, dropout=dropout), inputs(layer)) for ours in (False, True)]
    assert results[0].keys() == results[1].keys()
    assert len(results[0]) == 5
    for name, expected in results[0].items():
        # fp32 sums in another order: 1e-5 of the largest entry
        torch.testing.assert_close(results[1][name], expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("layer", ["linear", "convolution"])
def test_merging_gives_the_weight_that_the_forward_pass_acts_as(layer):
    model, x = adapted(layer, ours=True), inputs(layer)
    with torch.no_grad():
        before = model(x)
        model[0].merge(safe_merge=True)
        torch.testing.assert_close(model(x), before, rtol=1e-5, atol=1e-5)
        rows = model[0].get_base_layer().weight.flatten(1).norm(dim=1)
        torch.testing.assert_close(rows, model[0].lora_magnitude_vector["default"].weight.flatten().abs())


def test_the_gradient_is_that_of_the_formula_with_a_constant_length():
    model, x = adapted("linear", ours=True), inputs("linear")
    results = step(model, x)
    layer = model[0]
    a, b = (getattr(layer, name)["default"].weight.detach().double().requires_grad_() for name in ("lora_A", "lora_B"))
    m = layer.lora_magnitude_vector["default"].weight.detach().double().requires_grad_()
    weight, bias = (p.detach().double() for p in layer.get_base_layer().parameters())
    moved = weight + 0.5 * b @ a
    y = torch.nn.functional.linear(x.detach().double(), (m / moved.norm(dim=1).detach())[:, None] * moved, bias)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    found = {name.split(".")[1]: value for name, value in results.items() if "." in name}
    for name, expected in (("lora_A", a.grad), ("lora_B", b.grad), ("lora_magnitude_vector", m.grad)):
        torch.testing.assert_close(found[name].double(), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_a_step_holds_nothing_of_the_size_of_the_weight(monkeypatch):
    model, x = adapted("linear", ours=True), inputs("linear")
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = model(x)
    weight = model[0].get_base_layer().weight
    of_its_size = [t for t in saved if t.numel() == weight.numel() and t.data_ptr() != weight.data_ptr()]
    assert of_its_size == []
    assert y.requires_grad


def test_lengths_of_a_low_precision_base_are_exact_to_fp32():
    model = adapted("linear", ours=True, dtype=torch.bfloat16)
    layer = model[0]
    exact = layer.get_base_layer().weight.detach().double().norm(dim=1)
    use_gram_norms(layer, "default")
    magnitude = layer.lora_magnitude_vector["default"].weight
    assert magnitude.dtype == torch.float32
    torch.testing.assert_close(magnitude.detach().double(), exact, rtol=1e-6, atol=0.0)
