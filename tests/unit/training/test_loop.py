"""The loop alone, on problems small enough to be solved by hand: halting, clipping, scaling, weights."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import torch
from torch import Generator, Tensor, nn

from maquette.adapters.base import ParamGroup
from maquette.config.optimization import (
    AdafactorConfig,
    AdamWConfig,
    LionConfig,
    OptimizerConfig,
    ProdigyConfig,
    ScheduleFreeConfig,
)
from maquette.training.ema import ready_to_use
from maquette.training.loop import Progress, StepStats, train
from maquette.training.optim import build_optimizer, pack_state
from maquette.training.runtime import ON_CPU, Runtime
from maquette.training.seeds import rng_at


@dataclass
class Rows:
    """A few vectors, each a group of its own."""

    groups: Sequence[ParamGroup]
    touches: frozenset[str] = frozenset()
    seen: list[list[int]] = field(default_factory=list)

    @contextmanager
    def routing(self, concept: Tensor) -> Iterator[None]:
        self.seen.append(concept.tolist())
        yield


@dataclass
class Batch:
    weight: Tensor
    concept: Tensor


def batch(*weights: float) -> Batch:
    return Batch(torch.tensor(weights), torch.arange(len(weights)))


def rows(*, halt_at: int | None, lr: float = 1.0, clip: tuple[str, str] = ("run", "run"), decay: float = 0.1) -> Rows:
    g = torch.Generator().manual_seed(0)
    values = [nn.Parameter(torch.randn(3, generator=g)) for _ in range(2)]
    return Rows(
        [
            ParamGroup("denoiser", [values[0]], lr, decay, clip=clip[0]),
            ParamGroup("tokens", [values[1]], lr, decay, halt_at, clip=clip[1]),
        ]
    )


def run(
    trainable: Rows,
    config: OptimizerConfig,
    steps: int,
    *,
    objective: Callable[[Batch, Generator], Tensor],
    batches: Sequence[Batch] = (batch(1.0),),
    max_grad_norm: float = math.inf,
    runtime: Runtime = ON_CPU,
    lr_at: Callable[[int], float] = lambda _: 1.0,
) -> tuple[Iterator[StepStats], torch.optim.Optimizer]:
    optimizer = build_optimizer(config, trainable.groups)
    stats = train(
        trainable,
        objective,
        lambda _: batches,
        optimizer,
        lr_at,
        Progress(),
        steps=steps,
        rng_at=lambda step, i: rng_at(0, step, i),
        max_grad_norm=max_grad_norm,
        runtime=runtime,
    )
    return stats, optimizer


def pull(trainable: Rows, strength: Mapping[str, float] | None = None) -> Callable[[Batch, Generator], Tensor]:
    """Every group is pulled towards noise, with a strength of its own."""

    def loss(batch: Batch, rng: Generator) -> Tensor:
        target = torch.randn(3, generator=rng)
        parts = [
            (strength or {}).get(group.name, 1.0) * (group.params[0] - target).square().sum()
            for group in trainable.groups
        ]
        return torch.stack(parts).sum().expand(len(batch.weight))

    return loss


OPTIMIZERS: Mapping[str, tuple[OptimizerConfig, float]] = {
    "adamw": (AdamWConfig(), 1e-2),
    "prodigy": (ProdigyConfig(d0=1e-2), 1.0),
    "schedule_free": (ScheduleFreeConfig(), 1e-2),
    "adafactor": (AdafactorConfig(), 1e-2),
    "lion": (LionConfig(), 1e-2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_halted_group_does_not_move_by_a_bit(name):
    """Its weights, what would be exported of it, and its moments; the others move on. A rate of 0 would not do."""
    config, lr = OPTIMIZERS[name]
    trainable = rows(halt_at=4, lr=lr)
    stats, optimizer = run(trainable, config, 9, objective=pull(trainable))
    moving, halting = (group.params[0] for group in trainable.groups)
    seen = []
    for record in stats:
        with ready_to_use(optimizer):
            used = halting.detach().clone()
        moments = {k: v.clone() for k, v in pack_state(optimizer).tensors.items() if k.startswith("state/1/")}
        seen.append((record.step, halting.detach().clone(), used, moving.detach().clone(), moments))
    at_halt = seen[3]
    assert at_halt[0] == 4
    for earlier, later in pairwise(seen[:4]):
        assert not torch.equal(earlier[1], later[1])
    for step, weights, used, others, moments in seen[4:]:
        assert torch.equal(weights, at_halt[1]), step
        assert torch.equal(used, at_halt[2]), step
        assert not torch.equal(others, at_halt[3]), step
        assert moments.keys() == at_halt[4].keys()
        assert all(torch.equal(moments[key], at_halt[4][key]) for key in moments), step


def test_a_group_may_halt_before_it_starts():
    trainable = rows(halt_at=0, lr=1e-2)
    before = trainable.groups[1].params[0].detach().clone()
    stats, _ = run(trainable, AdamWConfig(), 3, objective=pull(trainable))
    list(stats)
    assert torch.equal(trainable.groups[1].params[0], before)


def test_the_norm_that_clips_leaves_halted_groups_out():
    """A halted group with a huge gradient would otherwise scale the others' to nothing."""
    strength = {"tokens": 1e6}
    alone = rows(halt_at=0, lr=1e-2)
    stats, _ = run(alone, LionConfig(), 1, objective=pull(alone, strength), max_grad_norm=1.0)
    target = torch.randn(3, generator=rng_at(0, 0))
    start = rows(halt_at=0).groups[0].params[0].detach()
    expected = 2 * (start - target)
    assert next(stats).grad_norm.item() == pytest.approx(expected.norm().item(), rel=1e-6)


@pytest.mark.parametrize("clip", [("run", "run"), ("a", "b")])
def test_groups_are_clipped_together_exactly_when_they_share_a_key(clip):
    strength = {"tokens": 30.0}
    trainable = rows(halt_at=None, lr=0.1, clip=clip, decay=0.0)
    before = [group.params[0].detach().clone() for group in trainable.groups]
    optimizer = torch.optim.SGD([{"params": group.params, "lr": group.lr} for group in trainable.groups])
    stats = train(
        trainable,
        pull(trainable, strength),
        lambda _: [batch(1.0)],
        optimizer,
        lambda _: 1.0,
        Progress(),
        steps=1,
        rng_at=lambda step, i: rng_at(0, step, i),
        max_grad_norm=0.5,
    )
    norm = next(stats).grad_norm.item()
    target = torch.randn(3, generator=rng_at(0, 0))
    grads = [2 * s * (old - target) for s, old in zip((1.0, 30.0), before, strict=True)]
    total = torch.cat(grads).norm()
    assert norm == pytest.approx(total.item(), rel=1e-6)
    for group, old, grad in zip(trainable.groups, before, grads, strict=True):
        length = total if clip[0] == clip[1] else grad.norm()
        # clip_grad_norm_ adds 1e-6 to the norm it divides by
        torch.testing.assert_close(group.params[0].detach(), old - 0.1 * grad * 0.5 / length, rtol=1e-5, atol=1e-6)


def test_micro_batches_are_averaged_and_weights_within_them_summed():
    """Two pictures and two class pictures with lambda 0.5, in two micro-batches: the means of the halves, summed."""
    point = nn.Parameter(torch.zeros(1))
    trainable = Rows([ParamGroup("denoiser", [point], 1.0)])
    values = {0: [1.0, 3.0, 10.0, 20.0], 1: [5.0, 7.0, 30.0, 40.0]}
    weights = torch.tensor([0.5, 0.5, 0.25, 0.25])
    micro = [Batch(weights, torch.full((4,), i)) for i in values]

    def losses(batch: Batch, rng: Generator) -> Tensor:
        return torch.tensor(values[int(batch.concept[0])]) * (1 + point)

    optimizer = torch.optim.SGD([{"params": [point], "lr": 1.0}])
    stats = next(
        train(
            trainable,
            losses,
            lambda _: micro,
            optimizer,
            lambda _: 1.0,
            Progress(),
            steps=1,
            rng_at=lambda step, i: rng_at(0, step, i),
            max_grad_norm=math.inf,
        )
    )
    expected = ((2.0 + 0.5 * 15) + (6.0 + 0.5 * 35)) / 2
    assert stats.loss.item() == pytest.approx(expected)
    assert point.item() == pytest.approx(-expected)
    assert stats.images_seen == 8


def test_rates_are_each_groups_own_times_the_schedules():
    trainable = rows(halt_at=None, lr=1e-2)
    trainable.groups = [trainable.groups[0], ParamGroup("tokens", trainable.groups[1].params, 4e-2)]
    stats, _ = run(trainable, AdamWConfig(), 3, objective=pull(trainable), lr_at=lambda step: 1 / (1 + step))
    rates = [record.lr for record in stats]
    assert rates[0] == {"denoiser": 1e-2, "tokens": 4e-2}
    assert rates[2] == pytest.approx({"denoiser": 1e-2 / 3, "tokens": 4e-2 / 3})


def test_routing_surrounds_each_micro_batch_with_its_concepts():
    trainable = rows(halt_at=None, lr=1e-2)
    stats, _ = run(trainable, AdamWConfig(), 1, objective=pull(trainable), batches=[batch(0.5, 0.5), batch(1.0)])
    next(stats)
    assert trainable.seen == [[0, 1], [0]]


def test_progress_that_has_arrived_makes_no_step():
    trainable = rows(halt_at=None)
    stats, _ = run(trainable, AdamWConfig(), 0, objective=pull(trainable))
    assert list(stats) == []


def half(scale: float, growth: int = 1000) -> Runtime:
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=growth)
    return Runtime(torch.device("cpu"), torch.float16, scaler)


def linear(size: float) -> tuple[Rows, Callable[[Batch, Generator], Tensor]]:
    """A product that autocast makes in fp16; its gradient is ``size`` times the input."""
    weight = nn.Parameter(torch.ones(1, 4))
    trainable = Rows([ParamGroup("denoiser", [weight], 1e-2)])

    def loss(batch: Batch, rng: Generator) -> Tensor:
        x = torch.full((len(batch.weight), 4), 0.5)
        return nn.functional.linear(x, weight).float().flatten() * size

    return trainable, loss


def test_in_fp16_the_products_are_half_and_the_loss_and_the_weights_are_not():
    trainable, inner = linear(1.0)
    seen = []

    def loss(batch: Batch, rng: Generator) -> Tensor:
        seen.append(nn.functional.linear(torch.ones(1, 4), trainable.groups[0].params[0]).dtype)
        return inner(batch, rng)

    stats, _ = run(trainable, AdamWConfig(), 1, objective=loss, runtime=half(2.0**16))
    record = next(stats)
    assert seen == [torch.float16]
    assert record.loss.dtype == trainable.groups[0].params[0].dtype == torch.float32


def test_gradients_are_brought_to_their_true_size_before_they_are_clipped():
    trainable, loss = linear(1.0)
    stats, _ = run(trainable, AdamWConfig(), 1, objective=loss, runtime=half(2.0**10), max_grad_norm=0.1)
    assert next(stats).grad_norm.item() == pytest.approx(1.0, rel=1e-3)  # four times 0.5, in fp16


def test_gradients_too_small_for_fp16_are_not_lost():
    """1e-9 is below fp16's smallest number, 6e-8; scaled it is not."""
    trainable, loss = linear(1e-9)
    stats, optimizer = run(trainable, AdamWConfig(), 1, objective=loss, runtime=half(2.0**16))
    next(stats)
    moment = optimizer.state[trainable.groups[0].params[0]]["exp_avg"]
    torch.testing.assert_close(moment, torch.full((1, 4), 0.1 * 0.5e-9), rtol=1e-2, atol=0)
    plain, loss = linear(1e-9)
    stats, optimizer = run(
        plain, AdamWConfig(), 1, objective=loss, runtime=Runtime(torch.device("cpu"), torch.float16, None)
    )
    next(stats)
    assert optimizer.state[plain.groups[0].params[0]]["exp_avg"].eq(0).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_that_overflows_is_skipped_and_the_scale_is_halved(name):
    config, lr = OPTIMIZERS[name]
    trainable, loss = linear(1.0)
    param = trainable.groups[0].params[0]
    scales, weights, held = [], [], []
    trainable.groups = [ParamGroup("denoiser", [param], lr, hold=lambda: held.append(len(scales)))]
    runtime = half(2.0**18)
    stats, _ = run(trainable, config, 4, objective=loss, runtime=runtime)
    for _ in stats:
        scales.append(runtime.scaler.get_scale())
        weights.append(param.detach().clone())
    # fp16 ends at 65504: the product's gradient, 1, overflows under scales down to 2^16 and fits under 2^15.
    assert scales == [2.0**17, 2.0**16, 2.0**15, 2.0**15]
    assert all(weight.eq(1).all() for weight in weights[:3])
    assert not weights[3].eq(1).all()
    assert held == [3]  # steps count from 0


def test_contexts_of_the_precisions():
    assert isinstance(ON_CPU.forward(), nullcontext)
    with Runtime(torch.device("cpu"), torch.bfloat16).forward():
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.bfloat16
