"""What the batches of every part of pretraining have in common: which pictures a step sees, and how they count."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.training.seeds import rng_at


def in_rounds(total: int, batch_size: int, seed: int, step: int) -> Int[Tensor, " b"]:
    """Which of ``total`` pictures a step sees, when every picture comes once before any comes again."""
    epoch, place = divmod(step, total // batch_size)
    order = torch.randperm(total, generator=rng_at(seed, epoch, stream="order"))
    return order[place * batch_size : (place + 1) * batch_size]


def even(count: int) -> tuple[Float[Tensor, " b"], Int[Tensor, " b"]]:
    """The same weight for each of ``count`` examples, all of one concept."""
    return torch.full((count,), 1 / count), torch.zeros(count, dtype=torch.long)
