"""Our LoRA step against peft's own: the same layers, the same numbers, fewer tensors."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from tests.parity.adapters.layers import LAYERS, step
from torch import nn

from maquette.adapters.injected import inject


def adapted(layer, *, ours, dropout=0.0, dtype=torch.float32):
    torch.manual_seed(0)
    model = nn.Sequential(LAYERS[layer]()).to(dtype).requires_grad_(requires_grad=False)
    config = LoraConfig(r=4, lora_alpha=2, target_modules="0", lora_dropout=dropout)
    if ours:
        inject(model, config, {"0": 0.5})
    else:
        inject_adapter_in_model(config, model)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for param in model.parameters():
            if param.requires_grad:
                param.data = torch.randn(param.shape, generator=rng)
    return model.train(mode=dropout > 0)


def inputs(layer, dtype=torch.float32):
    shape = (3, 7, 24) if layer.startswith("linear") else (3, 12, 8, 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(dtype).requires_grad_()


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("layer", LAYERS)
def test_forward_and_gradients_are_those_of_peft(layer, dropout):
    theirs, mine = (step(adapted(layer, ours=ours, dropout=dropout), inputs(layer)) for ours in (False, True))
    assert theirs.keys() == mine.keys()
    assert len(theirs) == 4
    for name, expected in theirs.items():
        # fp32 sums in another order: 1e-5 of the largest entry
        torch.testing.assert_close(mine[name], expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_under_a_low_precision_base_nothing_of_the_size_of_the_input_is_widened(layer, autocast):
    model, x = adapted(layer, ours=True, dtype=torch.bfloat16), inputs(layer, torch.bfloat16)
    kept = []
    with (
        torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        y = model(x)
    y.float().sum().backward()
    factors = [param for param in model.parameters() if param.requires_grad]
    assert y.dtype is torch.bfloat16
    assert {param.grad.dtype for param in factors} == {torch.float32}
    assert kept
    assert {t.dtype for t in kept} == {torch.bfloat16}
    exact = adapted(layer, ours=True).double()
    expected = exact(inputs(layer, torch.bfloat16).double())
    # bf16 keeps 8 bits: of each factor, of their inner product, and of the sum
    torch.testing.assert_close(y.double(), expected, rtol=2**-6, atol=2**-6 * expected.abs().max().item())


def test_merging_is_refused_rather_than_left_undone():
    layer = adapted("linear", ours=True)[0]
    with pytest.raises(NotImplementedError, match=r"worn\.fuse"):
        layer.merge()
