"""A run that stops and goes on is the run that never stopped: to the bit, with every global generator disturbed."""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Generator, Tensor

from maquette.adapters.attach import denoiser_parts
from maquette.adapters.base import ParamGroup, Trainable
from maquette.config.adapter import DoraConfig, LoraConfig
from maquette.config.optimization import (
    AdafactorConfig,
    AdamWConfig,
    CosineConfig,
    LionConfig,
    OptimizerConfig,
    ProdigyConfig,
    ScheduleFreeConfig,
)
from maquette.diffusion import affine, weighting
from maquette.diffusion.level import ddpm_path
from maquette.diffusion.scheduler import Diffusion, alphas_cumprod
from maquette.training.checkpoint import Piece, newest_checkpoint, write_checkpoint
from maquette.training.ema import Ema, ready_to_use
from maquette.training.loop import Progress, accumulate, train
from maquette.training.objective import Objective, denoising
from maquette.training.optim import build_optimizer, pack_state, unpack_state
from maquette.training.runtime import ON_CPU, Runtime
from maquette.training.schedule import rate_at
from maquette.training.seeds import rng_at
from maquette.types import ImageCode, TrainBatch

TABLE = alphas_cumprod({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})
STEPS, STOP = 6, 4
OPTIMIZERS: Mapping[str, OptimizerConfig] = {
    "adamw": AdamWConfig(),
    "prodigy": ProdigyConfig(d0=1e-3),
    "schedule_free": ScheduleFreeConfig(),
    "adafactor": AdafactorConfig(),
    "lion": LionConfig(),
}


@dataclass
class Toy:
    """As much of a family as the objective reads, around a random denoiser."""

    denoiser: UNet2DConditionModel
    diffusion: Diffusion

    def embed_text(self, _: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {}

    def predict(self, x: Tensor, t: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        return self.denoiser(x, t, cond["context"]).sample


def toy() -> Toy:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=4,
    ).eval()
    return Toy(unet.requires_grad_(False), Diffusion(ddpm_path(TABLE), affine.epsilon))


def batches_at(step: int) -> list[TrainBatch]:
    """Two micro-batches of two: the data are functions of the step, as the loop wants them."""
    batches = []
    for i in range(2):
        rng = rng_at(7, step, i, "data")
        mean = torch.randn(2, 4, 8, 8, generator=rng)
        code = ImageCode(mean, torch.full_like(mean, 0.1), {"context": torch.randn(2, 4, 8, generator=rng)})
        batches.append(TrainBatch(code, {}, torch.full((2,), 0.5), torch.zeros(2, dtype=torch.long)))
    return batches


@dataclass
class Run:
    """Everything that a checkpoint has to hold, over a fresh family."""

    trainable: Trainable
    objective: Objective[TrainBatch]
    optimizer: torch.optim.Optimizer
    ema: Ema
    progress: Progress
    runtime: Runtime

    def until(self, step: int, disturb: Callable[[int], None] = lambda _: None) -> list[tuple[float, float]]:
        records = []
        for stats in train(
            self.trainable,
            self.objective,
            batches_at,
            self.optimizer,
            rate_at(CosineConfig(warmup_steps=2), STEPS),
            self.progress,
            steps=step,
            rng_at=lambda step, i: rng_at(0, step, i),
            max_grad_norm=1.0,
            runtime=self.runtime,
        ):
            self.ema.update(4, stats.images_seen)
            records.append((stats.loss.item(), stats.grad_norm.item()))
            disturb(stats.step)
        return records

    def save(self, folder: Path) -> None:
        scaler = None if self.runtime.scaler is None else self.runtime.scaler.state_dict()
        pieces = {
            "adapter": Piece(self.trainable.state_dict()),
            "optimizer": pack_state(self.optimizer),
            "ema": self.ema.state(),
            "progress": Piece(
                {}, {"step": self.progress.step, "images_seen": self.progress.images_seen, "scaler": scaler}
            ),
        }
        write_checkpoint(folder, self.progress.step, pieces)

    def load(self, folder: Path) -> None:
        pieces = newest_checkpoint(folder).pieces
        self.trainable.load_state_dict(pieces["adapter"].tensors)
        unpack_state(self.optimizer, pieces["optimizer"])
        self.ema.load(pieces["ema"])
        values = pieces["progress"].values
        self.progress = Progress(values["step"], values["images_seen"])
        if self.runtime.scaler is not None:
            self.runtime.scaler.load_state_dict(values["scaler"])

    def result(self) -> dict[str, Tensor]:
        with ready_to_use(self.optimizer):
            used = {f"used {name}": tensor.clone() for name, tensor in self.trainable.state_dict().items()}
        return {**self.trainable.state_dict(), **used, **self.ema.averages}


def start(optimizer: OptimizerConfig, *, kind: type = LoraConfig, fp16: bool = False) -> Run:
    family = toy()
    adapter = kind(rank=2, dropout=0.1, targets="attention")
    lr = optimizer.lr or 1e-2
    (trainable,) = denoiser_parts(
        adapter, family.denoiser, ParamGroup("denoiser", (), lr, optimizer.weight_decay), rng_at(0, 0, stream="adapter")
    )
    half = Runtime(torch.device("cpu"), torch.float16, torch.amp.GradScaler("cpu", init_scale=2.0**24))
    return Run(
        trainable,
        denoising(family, weighting.min_snr(5.0), noise_offset=0.1),
        build_optimizer(optimizer, trainable.groups),
        Ema(trainable.groups, half_life_images=8),
        Progress(),
        half if fp16 else ON_CPU,
    )


def disturb(step: int) -> None:
    """What previews, trackers and other libraries may do to global state between two steps."""
    torch.manual_seed(1000 + step)
    np.random.seed(step)  # noqa: NPY002 - the global generator is what is disturbed
    random.seed(step)
    torch.rand(step + 1)


def assert_same_run(make: Callable[[], Run], folder: Path) -> None:
    whole = make()
    expected = whole.until(STEPS)

    head = make()
    records = head.until(STOP, disturb)
    with ready_to_use(head.optimizer), head.ema.applied():  # a preview before the save
        pass
    head.save(folder)
    disturb(99)
    tail = make()
    with torch.no_grad():
        for group in tail.trainable.groups:
            for param in group.params:
                param.add_(1)  # nothing of the fresh start may survive
    tail.load(folder)
    records += tail.until(STEPS, disturb)

    assert repr(records) == repr(expected)  # an overflowing step reports nan, which equals nothing
    assert tail.progress == whole.progress
    ours, theirs = tail.result(), whole.result()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert any(not torch.equal(theirs[name], tensor) for name, tensor in make().result().items())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_stopping_and_going_on_changes_no_bit(name, tmp_path):
    """With dropout in the adapter, two micro-batches a step, a moving average, warm-up and a falling rate."""
    assert_same_run(lambda: start(OPTIMIZERS[name]), tmp_path)


def test_nor_with_dora(tmp_path):
    assert_same_run(lambda: start(OPTIMIZERS["adamw"], kind=DoraConfig), tmp_path)


def test_nor_in_fp16_with_steps_that_overflow(tmp_path):
    """The scale starts absurdly high, so that the first steps overflow, are skipped and halve it; it must be saved."""
    assert_same_run(lambda: start(OPTIMIZERS["adamw"], fp16=True), tmp_path)
    norms = [norm for _, norm in start(OPTIMIZERS["adamw"], fp16=True).until(STOP)]
    assert not math.isfinite(norms[0])
    assert math.isfinite(norms[-1])


def test_dropout_is_on_in_training_and_changes_with_the_step():
    """Otherwise the tests above would prove nothing about it."""
    run = start(AdamWConfig())
    (part,) = run.trainable.groups
    with torch.no_grad():
        for param in part.params:
            param.normal_(generator=Generator().manual_seed(1))
    batch, losses = batches_at(0)[0], []
    for key in (0, 0, 1):
        rng = rng_at(0, key)
        accumulate(run.trainable, lambda batch, _: run.objective(batch, rng_at(5, 5)), batch, rng, 1.0, ON_CPU)
        losses.append([param.grad.clone() for param in part.params])
        run.optimizer.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(losses[0], losses[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(losses[0], losses[2], strict=True))


def test_two_processes_make_the_gradient_of_two_accumulated_micro_batches():
    """Random streams are keyed by the micro-batch of the step, not by who computes it."""
    together, step = start(AdamWConfig()), 3
    for i, batch in enumerate(batches_at(step)):
        accumulate(together.trainable, together.objective, batch, rng_at(0, step, i), 0.5, ON_CPU)
    apart = []
    for i, batch in enumerate(batches_at(step)):
        disturb(i)
        one = start(AdamWConfig())
        accumulate(one.trainable, one.objective, batch, rng_at(0, step, i), 0.5, ON_CPU)
        apart.append([param.grad for group in one.trainable.groups for param in group.params])
    summed = [sum(grads) for grads in zip(*apart, strict=True)]
    ours = [param.grad for group in together.trainable.groups for param in group.params]
    assert all(torch.equal(a, b) for a, b in zip(ours, summed, strict=True))


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)])
def test_zero_is_a_seed_like_any_other(seeds):
    losses = []
    for seed in seeds:
        disturb(seed + 50)
        run = start(AdamWConfig())
        stats = train(
            run.trainable,
            run.objective,
            batches_at,
            run.optimizer,
            lambda _: 1.0,
            Progress(),
            steps=1,
            rng_at=lambda step, i, seed=seed: rng_at(seed, step, i),
            max_grad_norm=1.0,
        )
        losses.append(next(stats).loss.item())
    assert (losses[0] == losses[1]) == (seeds[0] == seeds[1])
