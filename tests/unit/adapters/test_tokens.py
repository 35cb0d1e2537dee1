"""How the rows of new tokens start, learn, are held in, and rest."""

import pytest
import torch
from tests.contract import tiny
from torch import nn

from maquette.adapters.attach import attach
from maquette.adapters.base import ParamGroup
from maquette.adapters.combined import Combined
from maquette.adapters.tokens import LearnedTokens, grown, retract
from maquette.config.load import load_config
from maquette.config.optimization import AdamWConfig, ProdigyConfig
from maquette.errors import CheckpointError, ConfigError
from maquette.families.vocabulary import grown_tables, table_of
from maquette.training.loop import Progress, train
from maquette.training.optim import build_optimizer
from maquette.training.seeds import rng_at


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def family_with(*sets, kind="sd1", seed=0):
    return grown(tiny.RECIPES[kind](), load_config(sets=["tokens={}", *sets]).tokens, rng(seed))


def rows_of(family, name="text_encoder"):
    return grown_tables(family)[name].new.weight


def test_at_random_they_have_the_spread_of_the_table():
    family = family_with("tokens.placeholders={TOK=64}", kind="sdxl")
    for name in ("text_encoder", "text_encoder_2"):
        rows, table = rows_of(family, name), table_of(family, name)
        assert rows.shape == (64, table.shape[1])
        assert rows.std().item() == pytest.approx(table.std().item(), rel=0.05)
    again, other = (family_with("tokens.placeholders={TOK=64}", kind="sdxl", seed=s) for s in (0, 1))
    assert torch.equal(rows_of(again), rows_of(family))
    assert not torch.equal(rows_of(other), rows_of(family))


def test_they_start_as_the_mean_of_the_table_or_as_a_word():
    family = family_with("tokens.init=mean")
    table = table_of(family, "text_encoder")
    assert torch.equal(rows_of(family), table.mean(0).expand(2, -1))
    family = family_with(
        "tokens.init=word", "tokens.placeholders={TOK=3, HAT=1}", 'tokens.words={TOK="red dog", HAT="cat"}'
    )
    red, dog, cat = (tiny.tokenizer()(word)["input_ids"][1] for word in ("red", "dog", "cat"))
    assert torch.equal(rows_of(family), table[[red, dog, red, cat]])


def test_a_word_longer_than_its_tokens_is_refused_with_the_number_that_fits():
    with pytest.raises(ConfigError, match=r"is 2 tokens and TOK 1; .* tokens.placeholders = \{ TOK = 2 \}"):
        family_with("tokens.init=word", "tokens.placeholders={TOK=1}", 'tokens.words={TOK="red dog"}')


def test_retraction_is_the_published_formula():
    rows, spread = nn.Parameter(torch.randn(4, 8, generator=rng())), torch.tensor(0.3)
    before = rows.detach().double()
    expected = before * (0.3 / before.std(correction=1)) ** 0.1
    retract(rows, spread, 0.1)()
    torch.testing.assert_close(rows.detach(), expected.float(), rtol=1e-6, atol=0)
    for _ in range(200):
        retract(rows, spread, 0.1)()
    assert rows.std().item() == pytest.approx(0.3, rel=1e-5)


class Batch:
    weight = torch.ones(1)
    concept = torch.zeros(1, dtype=torch.long)


def steps_of(trainable, optimizer, loss, steps, progress=None):
    """Train by the loop, and give the first group's parameter after each step."""
    first = trainable.groups[0].params[0]
    stats = train(
        trainable, lambda _, rng: loss(rng)[None], lambda _: [Batch()], optimizer, lambda _: 1.0,
        progress or Progress(), steps=steps, rng_at=lambda s, m: rng_at(0, s, m), max_grad_norm=1.0,
    )  # fmt: skip
    seen = []
    norms = []
    for step in stats:
        seen.append(first.detach().clone())
        norms.append(step.grad_norm.item())
    return seen, norms


def pair(config, *, retraction=0.0, decay=0.1):
    """Rows that halt after step 3, beside another parameter that goes on; both far from what the loss wants."""
    rows, other = nn.Parameter(torch.randn(2, 4, generator=rng())), nn.Parameter(torch.randn(6, generator=rng(1)))
    hold = retract(rows, torch.tensor(0.5), retraction) if retraction else None
    lr = config.lr or 1e-2
    tokens = LearnedTokens("text_encoder", rows, ParamGroup("rows", [rows], lr, decay, 3, hold=hold))
    rest = LearnedTokens("text_encoder_2", other, ParamGroup("rest", [other], lr, decay))
    trainable = Combined([tokens, rest])

    def loss(noise):
        target = torch.randn(2, 4, generator=noise)
        return (rows * other[:4] - target).square().mean() + (other - 2).square().mean()

    return trainable, build_optimizer(config, trainable.groups), loss


@pytest.mark.parametrize("config", [AdamWConfig(), ProdigyConfig(d0=1e-3)], ids=["adamw", "prodigy"])
@pytest.mark.parametrize("retraction", [0.0, 0.1])
def test_halted_rows_rest_to_the_last_bit_with_any_optimizer(config, retraction):
    """Prodigy with a rate of 0 would go on by its momentum, and the reference goes on retracting."""
    trainable, optimizer, loss = pair(config, retraction=retraction)
    other = trainable.groups[1].params[0]
    seen, _ = steps_of(trainable, optimizer, loss, 9)
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert all(torch.equal(later, seen[2]) for later in seen[3:])
    # What rests is not part of the norm by which the rest is clipped.
    rested = other.detach().clone()
    (gradient,) = torch.autograd.grad(loss(rng_at(0, 9, 0)), other)
    later, (norm,) = steps_of(trainable, optimizer, loss, 10, Progress(step=9))
    assert torch.equal(later[0], seen[2])
    assert not torch.equal(other, rested)
    assert norm == pytest.approx(gradient.norm().item(), rel=1e-6)


def test_a_resumed_run_does_not_wake_them():
    """The reference asks whether the step *is* the halting step, so that a resume behind it trains on."""
    trainable, optimizer, loss = pair(AdamWConfig())
    start = trainable.groups[0].params[0].detach().clone()
    seen, _ = steps_of(trainable, optimizer, loss, 6, Progress(step=4))
    assert all(torch.equal(rows, start) for rows in seen)


def test_retraction_acts_after_each_step_that_moves_the_rows():
    plain, _ = steps_of(*pair(AdamWConfig(), retraction=0.0), 1)
    held, _ = steps_of(*pair(AdamWConfig(), retraction=0.1), 1)
    torch.testing.assert_close(held[0], plain[0] * (0.5 / plain[0].std()) ** 0.1, rtol=1e-6, atol=0)


def groups(*sets, kind="sd1", steps=1000):
    config = load_config(sets=["tokens={}", "adapter.rank=2", *sets])
    family = grown(tiny.RECIPES[kind](), config.tokens, rng())
    trainable = attach(config, family, steps=steps, weight_decay=config.optimizer.weight_decay, rng=rng())
    return {group.name: group for group in trainable.groups}


def test_every_encoder_has_its_group_with_its_own_rate_and_decay_and_halting_step():
    """22 pictures in threes and 1000 steps: the reference halts at 496 = 8 * int(0.5 * 125), by whole epochs."""
    found = groups(kind="sdxl")
    assert list(found) == ["denoiser", "text_encoder.new_tokens", "text_encoder_2.new_tokens"]
    for name in list(found)[1:]:
        group = found[name]
        assert (group.lr, group.weight_decay, group.halt_at) == (3e-4, 0.01, 500)
        assert [param.dtype for param in group.params] == [torch.float32]
    assert found["denoiser"].lr == 1e-4
    assert found["denoiser"].halt_at is None


def test_a_decay_of_zero_is_none_and_not_unset():
    assert groups("tokens.weight_decay=0.0")["text_encoder.new_tokens"].weight_decay == 0.0
    assert groups("tokens.weight_decay=0.3")["text_encoder.new_tokens"].weight_decay == 0.3


def test_with_prodigy_all_rates_are_one():
    assert {group.lr for group in groups("optimizer.kind=prodigy").values()} == {1.0}


def test_alone_they_learn_to_the_end_at_the_optimizers_rate():
    config = load_config(sets=["tokens={}", "adapter.kind=none"])
    family = grown(tiny.sd1(), config.tokens, rng())
    trainable = attach(config, family, steps=10, weight_decay=0.0, rng=rng())
    assert isinstance(trainable, LearnedTokens)
    assert [(group.lr, group.halt_at) for group in trainable.groups] == [(5e-4, None)]
    learning = {id(p) for m in family.modules.values() for p in m.parameters() if p.requires_grad}
    assert learning == {id(rows_of(family))}


def test_their_state_comes_back_or_is_refused():
    family = family_with()
    config = load_config(sets=["tokens={}", "adapter.kind=none"])
    trainable = attach(config, family, steps=10, weight_decay=0.0, rng=rng())
    state = {name: value + 1 for name, value in trainable.state_dict().items()}
    trainable.load_state_dict(state)
    assert torch.equal(rows_of(family), state["text_encoder.new_tokens"])
    with pytest.raises(CheckpointError, match="has shape"):
        trainable.load_state_dict({"text_encoder.new_tokens": torch.zeros(3, 32)})
