"""The only training loop. It knows no family, no method and no diffusion."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.optim import Optimizer

from maquette.adapters.base import ParamGroup, Trainable
from maquette.training.objective import Objective
from maquette.training.runtime import ON_CPU, Runtime
from maquette.training.seeds import global_generators


class Weighted(Protocol):
    """What the loop reads of a batch, whatever else it holds."""

    @property
    def weight(self) -> Float[Tensor, " b"]:
        """How much each example counts in the loss."""
        ...

    @property
    def concept(self) -> Int[Tensor, " b"]:
        """Which concept each example belongs to."""
        ...


B = TypeVar("B", bound=Weighted)


@dataclass(slots=True)
class Progress:
    """Everything the loop itself must remember to resume."""

    step: int = 0
    images_seen: int = 0


@dataclass(frozen=True, slots=True)
class StepStats:
    """One optimiser step. ``loss`` and ``grad_norm`` stay on the device: reading waits for it, so read them seldom.

    step counts finished steps, from 1; grad_norm is the norm before clipping, over all groups that moved.
    """

    step: int
    images_seen: int
    loss: Float[Tensor, ""]
    grad_norm: Float[Tensor, ""]
    lr: Mapping[str, float]


def train(  # noqa: PLR0913 - what a step needs, each named once; a bundle of them would only hide the list
    trainable: Trainable,
    objective: Objective[B],
    batches_at: Callable[[int], Sequence[B]],
    optimizer: Optimizer,
    lr_at: Callable[[int], float],
    progress: Progress,
    *,
    steps: int,
    rng_at: Callable[[int, int], Generator],
    max_grad_norm: float,
    runtime: Runtime = ON_CPU,
) -> Iterator[StepStats]:
    """Advance ``progress`` to ``steps``; yield one record after every optimiser step.

    batches_at: step -> its micro-batches, whose gradients are averaged; of several processes, each asks for its own of
    them only. rng_at: (step, micro-batch) -> its generator, so that it does not matter which process computes it.
    lr_at: step -> multiple of each group's own learning rate. ``optimizer`` has one group per group of ``trainable``.
    Step s depends on (weights, optimiser state, s) alone: batches, noise and rates are functions of s, so a resumed run
    repeats the uninterrupted one bit for bit.
    """
    while progress.step < steps:
        step = progress.step
        for slot, group in zip(optimizer.param_groups, trainable.groups, strict=True):
            slot["lr"] = group.lr * lr_at(step)
        micro = batches_at(step)
        losses: list[Tensor] = []
        images = 0
        for i in runtime.processes.share(len(micro)):
            batch = micro[i]
            losses.append(accumulate(trainable, objective, batch, rng_at(step, i), 1 / len(micro), runtime))
            images += batch.weight.shape[0]
        active = [group for group in trainable.groups if group.is_active(step)]
        for group in trainable.groups:
            if group not in active:  # without a gradient the optimiser leaves the weights and its moments alone
                for param in group.params:
                    param.grad = None
        moving = [param for group in active for param in group.params]
        # What is clipped apart is trained apart (a bank's concepts): the loss told is the mean over these.
        loss = torch.stack(losses).sum() / len({group.clip for group in trainable.groups})
        loss, images = runtime.gathered(moving, loss, images)
        runtime.unscale(optimizer)
        grad_norm = clip_gradients(active, max_grad_norm)
        has_moved = runtime.step(optimizer)
        for group in active:
            if has_moved and group.hold is not None:
                group.hold()
        optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        progress.images_seen += images
        rates = {g.name: slot["lr"] for slot, g in zip(optimizer.param_groups, trainable.groups, strict=True)}
        yield StepStats(progress.step, progress.images_seen, loss, grad_norm, rates)


def accumulate(
    trainable: Trainable, objective: Objective[B], batch: B, rng: Generator, share: float, runtime: Runtime
) -> Float[Tensor, ""]:
    """Add one micro-batch's share of the gradient; return its share of the loss, detached."""
    with global_generators(rng.initial_seed()), trainable.routing(batch.concept), runtime.passes():
        with runtime.forward():
            loss = share * (batch.weight * objective(batch, rng)).sum()
        runtime.backward(loss)
    return loss.detach()


def clip_gradients(groups: Sequence[ParamGroup], max_norm: float) -> Float[Tensor, ""]:
    """Clip each set of groups that shares a ``clip`` key; return the norm over all of them before clipping."""
    norms = [
        torch.nn.utils.clip_grad_norm_([p for g in groups if g.clip == key for p in g.params], max_norm)
        for key in dict.fromkeys(group.clip for group in groups)
    ]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
