"""Weights that are written in another precision than they are held in."""

import copy

import torch
from torch import nn

from maquette.families.placement import held_in


def test_what_is_held_in_fp16_for_a_while_has_its_own_bits_again() -> None:
    """Frozen weights and buffers as well as trained ones: fp16 forgets bits, and tiny numbers altogether."""
    torch.manual_seed(0)
    frozen, trained = nn.BatchNorm1d(4).requires_grad_(requires_grad=False), nn.Linear(4, 4)
    frozen.get_buffer("running_mean").fill_(1e-9)
    before = [copy.deepcopy(module.state_dict()) for module in (frozen, trained)]
    weight, storage = trained.weight, trained.weight.data_ptr()
    with held_in(torch.float16, [frozen, trained]):
        assert {value.dtype for value in (*frozen.parameters(), *trained.parameters())} == {torch.float16}
        assert not frozen.get_buffer("running_mean").any()
    for module, states in zip((frozen, trained), before, strict=True):
        for name, value in module.state_dict().items():
            assert value.dtype == states[name].dtype
            assert torch.equal(value, states[name])
    assert trained.weight is weight
    assert weight.data_ptr() == storage
