"""What a training pass switches in the layers: their dropout, and nothing where there is none."""

import pytest
import torch
from tests.unit.adapters.small import unet

from maquette.adapters.attach import denoiser_parts
from maquette.adapters.base import ParamGroup, Trainable
from maquette.config.adapter import DoraConfig, LohaConfig, LokrConfig, LoraConfig

KINDS = [LoraConfig, DoraConfig, LohaConfig, LokrConfig]


def made(config) -> tuple[torch.nn.Module, Trainable]:
    """A small UNet with an adapter that is away from its start, where it would change nothing."""
    module = unet("sd1").eval().requires_grad_(requires_grad=False)
    rng = torch.Generator().manual_seed(0)
    [part] = denoiser_parts(config, module, ParamGroup("denoiser", (), 1e-3), rng)
    with torch.no_grad():
        for param in (param for group in part.groups for param in group.params):
            param.add_(0.3 * torch.randn(param.shape, generator=rng))
    return module, part


@torch.no_grad()
def output(module: torch.nn.Module) -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    x, context = torch.randn(1, 4, 8, 8, generator=g), torch.randn(1, 5, 12, generator=g)
    return module(x, torch.tensor([3.0]), encoder_hidden_states=context).sample


@pytest.mark.parametrize("kind", KINDS)
def test_without_dropout_a_training_pass_is_a_plain_one_and_draws_nothing(kind):
    module, part = made(kind(rank=2))
    plain, state = output(module), torch.get_rng_state()
    with part.routing(torch.zeros(1, dtype=torch.long)):
        assert torch.equal(output(module), plain)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_acts_in_a_training_pass_alone(kind):
    module, part = made(kind(rank=2, dropout=0.5))
    plain = output(module)
    with part.routing(torch.zeros(1, dtype=torch.long)):
        assert not torch.allclose(output(module), plain)
    assert torch.equal(output(module), plain)
