"""The running average against its closed form, and holding it in the parameters for a while."""

import pytest
import torch
from torch import nn

from maquette.adapters.base import ParamGroup
from maquette.errors import CheckpointError
from maquette.training.checkpoint import Piece
from maquette.training.ema import Ema


def group() -> ParamGroup:
    return ParamGroup("denoiser", [nn.Parameter(torch.full((3,), 100.0)), nn.Parameter(torch.zeros(2, 2))], 1e-3)


def visit(own: ParamGroup, value: float) -> None:
    with torch.no_grad():
        for param in own.params:
            param.fill_(value)


@pytest.mark.parametrize("batch", [1, 3])
def test_it_is_the_mean_of_what_was_visited_with_weights_that_halve(batch):
    own = group()
    ema = Ema([own], half_life_images=6)
    visited = [4.0, -2.0, 7.0, 1.0, 0.5]
    for i, value in enumerate(visited, 1):
        visit(own, value)
        ema.update(batch, batch * i)
    weights = [0.5 ** (batch * (len(visited) - 1 - i) / 6) for i in range(len(visited))]
    expected = sum(w * v for w, v in zip(weights, visited, strict=True)) / sum(weights)
    for average in ema.averages.values():
        torch.testing.assert_close(average, torch.full_like(average, expected))


def test_the_start_is_forgotten_with_the_first_step():
    own = group()
    ema = Ema([own], half_life_images=1e6)
    visit(own, 3.0)
    ema.update(4, 4)
    assert all(average.eq(3).all() for average in ema.averages.values())


def test_the_half_life_does_not_depend_on_the_batch_size():
    """The same path through the weights, seen every picture or every fourth: both averages are of the last pictures."""
    fine, coarse = group(), group()
    averages = Ema([fine], 40), Ema([coarse], 40)
    for seen in range(1, 401):
        visit(fine, seen / 400)
        averages[0].update(1, seen)
        if seen % 4 == 0:
            visit(coarse, (seen - 1.5) / 400)  # the middle of the four
            averages[1].update(4, seen)
    one, four = (ema.averages["denoiser.0"] for ema in averages)
    torch.testing.assert_close(one, four, rtol=0, atol=1e-3)  # a step of the path is 2.5e-3


def test_applied_averages_are_taken_back_to_the_bit():
    own = group()
    ema = Ema([own], 10)
    for seen, value in enumerate((0.1, 0.7), 1):
        visit(own, value)
        ema.update(1, seen)
    before = [param.detach().clone() for param in own.params]
    with ema.applied():
        assert torch.equal(own.params[0], ema.averages["denoiser.0"])
        assert not torch.equal(own.params[0], before[0])
    assert all(torch.equal(a, b) for a, b in zip(before, own.params, strict=True))


def test_applied_averages_are_taken_back_when_the_block_fails():
    own = group()
    ema = Ema([own], 10)
    visit(own, 0.3)
    with pytest.raises(RuntimeError, match="no preview"), ema.applied():
        raise RuntimeError("no preview")
    assert all(param.eq(torch.tensor(0.3)).all() for param in own.params)


def test_its_state_continues_to_the_bit():
    own = group()
    ema = Ema([own], 10)
    for seen in range(1, 9):
        visit(own, seen**0.5)
        ema.update(1, seen)
        if seen == 4:
            kept = Piece({name: tensor.clone() for name, tensor in ema.state().tensors.items()})
    other = group()
    resumed = Ema([other], 10)
    resumed.load(kept)
    for seen in range(5, 9):
        visit(other, seen**0.5)
        resumed.update(1, seen)
    assert all(torch.equal(ema.averages[name], resumed.averages[name]) for name in ema.averages)


def test_a_state_of_other_parameters_is_refused():
    with pytest.raises(CheckpointError, match=r"denoiser\.0 is missing.*tokens\.0 is not part of what is trained"):
        Ema([group()], 10).load(Piece({"tokens.0": torch.zeros(3), "denoiser.1": torch.zeros(2, 2)}))
