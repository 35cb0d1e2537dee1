"""The loss on held-out pictures at fixed noise: comparable between steps, as the running loss is not."""

import torch

from maquette.adapters.bank import as_concept
from maquette.adapters.base import Trainable
from maquette.data.dataset import Dataset
from maquette.runs.events import Scored
from maquette.runs.names import LOSS
from maquette.training.objective import Objective
from maquette.training.prepare import Job
from maquette.training.runtime import Runtime
from maquette.training.seeds import global_generators, rng_at
from maquette.types import ImageCode, TrainBatch


def validated(job: Job, step: int) -> list[Scored]:
    """The validation loss of a run after a step, where it holds pictures out."""
    section = job.config.validation
    if section is None or job.held_out is None:
        return []
    seed = job.config.training.seed
    loss = validation_loss(job.held_out, job.objective, job.runtime, job.trainable, draws=section.draws, seed=seed)
    return [Scored(step, LOSS, loss)]


@torch.no_grad()
def validation_loss(
    held_out: Dataset,
    objective: Objective[TrainBatch],
    runtime: Runtime,
    trainable: Trainable,
    *,
    draws: int,
    seed: int,
) -> float:
    """Mean loss over every held-out picture, each at ``draws`` noise levels spread evenly, the same ones every time.

    Of a bank, each picture passes through the adapter of its own concept.
    """
    total = 0.0
    for index in range(len(held_out.samples)):
        rng = rng_at(seed, 0, index, stream="validation")
        of_its_own = as_concept(trainable, held_out.samples[index].concept)
        with global_generators(rng.initial_seed()), of_its_own, runtime.forward():
            total += float(objective(repeated(held_out.still(index), draws), rng).mean())
    return total / len(held_out.samples)


def repeated(batch: TrainBatch, times: int) -> TrainBatch:
    """A batch of one picture, several times over."""
    code = batch.code

    def again(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.repeat_interleave(times, dim=0)

    return TrainBatch(
        ImageCode(
            again(code.mean),
            None if code.std is None else again(code.std),
            {name: again(value) for name, value in code.cond.items()},
        ),
        {name: again(ids) for name, ids in batch.tokens.items()},
        again(batch.weight) / times,
        again(batch.concept),
        None if batch.mask is None else again(batch.mask),
    )
