"""From a configuration to everything that the loop is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer
from transformers.modeling_layers import GradientCheckpointingLayer

from maquette.adapters.aside import aside
from maquette.adapters.attach import attach
from maquette.adapters.bank import Bank
from maquette.adapters.combined import Attached
from maquette.adapters.starts import Report, Start
from maquette.config.schema import RunConfig
from maquette.data.dataset import Dataset, build
from maquette.data.gather import held_out
from maquette.data.sample import Sample
from maquette.errors import ModelError
from maquette.families.base import Family
from maquette.families.packed import can_pack, packing
from maquette.families.placement import choose_dtype
from maquette.families.quantized import num_parameters
from maquette.training.ema import Ema
from maquette.training.idle import Idle, idle_in
from maquette.training.objective import Objective, Preservation, denoising
from maquette.training.optim import build_optimizer
from maquette.training.processes import Processes
from maquette.training.rehearsal import init_of, rehearsal, start_on
from maquette.training.runtime import Runtime
from maquette.training.seeds import rng_at
from maquette.training.weighting import levels_of, weighting_of
from maquette.types import TrainBatch


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A run that is ready for its first step.

    held_out: the pictures that validation measures on, as a data set of their own; None without validation. start: how
    the adapter started, where that was not at random.
    """

    config: RunConfig
    family: Family
    dataset: Dataset
    held_out: Dataset | None
    trainable: Attached | Bank
    objective: Objective[TrainBatch]
    optimizer: Optimizer
    ema: Ema | None
    runtime: Runtime
    steps: int
    idle: Idle
    start: Start


def data_sets(
    config: RunConfig, samples: Sequence[Sample], family: Family, cache: Path, device: torch.device
) -> tuple[Dataset, Dataset | None]:
    """What is trained and what is held out. To be called before adapters are attached: it encodes with the base."""
    if config.validation is None:
        return build(config, samples, family, cache, device), None
    trained, held = held_out(samples, config.validation.hold_out)
    return build(config, trained, family, cache, device), build(config, held, family, cache, device)


def assemble(
    config: RunConfig,
    family: Family,
    dataset: Dataset,
    held: Dataset | None,
    device: torch.device,
    processes: Processes,
    report: Report | None,
) -> Job:
    """Attach what is trained to the family and put the optimiser over it. ``config`` is resolved.

    report: told how the start of an adapter from weights or pictures comes on; None where a checkpoint will bring it.
    """
    steps = config.training.steps
    assert steps != "auto"
    denoiser = family.modules["denoiser"]
    compute = choose_dtype(config.model.precision, device, num_parameters(denoiser))
    trainable = attached(config, family)
    ema = config.training.ema
    scaler = torch.amp.GradScaler(device.type) if compute is torch.float16 else None
    runtime = Runtime(device, compute, scaler, processes)
    loss, keep = config.loss, config.preservation
    levels = levels_of(loss.noise_levels, family.diffusion.path)
    objective = partial(denoising, family, weighting_of(loss.weighting), levels=levels, noise_offset=loss.noise_offset)
    preservation = None if keep is None else Preservation(keep.weight, lambda: aside(trainable))
    start = Start()
    if report is not None:
        passes = rehearsal(dataset, objective(), runtime, config.training.seed)
        start = start_on(init_of(config.adapter), trainable, passes, config.training.seed, report)
    if packs_weights(config, device, compute):
        runtime = replace(runtime, passes=packing(denoiser, compute))
    return Job(
        config=config,
        family=family,
        dataset=dataset,
        held_out=held,
        trainable=trainable,
        objective=objective(preservation=preservation, apart=config.is_bank),
        optimizer=build_optimizer(config.optimizer, trainable.groups),
        ema=None if ema is None else Ema(trainable.groups, ema.half_life_images),
        runtime=runtime,
        steps=steps,
        idle=idle_in(family, dataset, device),
        start=start,
    )


def attached(config: RunConfig, family: Family) -> Attached | Bank:
    """What a run trains, put into its base, with or without weights. ``config`` is resolved."""
    steps, decay = config.training.steps, config.optimizer.weight_decay
    assert steps != "auto"
    rng = rng_at(config.training.seed, 0, stream="adapter")
    trainable = attach(config, family, steps=steps, weight_decay=decay, rng=rng)
    if config.training.gradient_checkpointing:
        for name in trainable.touches:
            checkpoint_gradients(family.modules[name])
    return trainable


def packs_weights(config: RunConfig, device: torch.device, compute: torch.dtype) -> bool:
    """Whether steps hold frozen weights packed as well: on a CPU, unless the run would rather have the memory."""
    return device.type == "cpu" and can_pack(compute) and not config.training.gradient_checkpointing


def checkpointing_of(module: nn.Module) -> Callable[[], None]:
    """What makes a module compute its activations twice instead of keeping them. Raises ModelError where it cannot."""
    # The names that diffusers, transformers, and transformers before 5.23 have for it.
    names = ("enable_gradient_checkpointing", "activation_checkpointing_enable", "gradient_checkpointing_enable")
    switch = next((getattr(module, name) for name in names if hasattr(module, name)), None)
    if switch is None or not getattr(module, "_supports_gradient_checkpointing", True):
        raise ModelError(
            f"training.gradient_checkpointing: {type(module).__name__} has no way to do it. Set it to false."
        )
    return switch


def checkpoint_gradients(module: nn.Module) -> None:
    """Let a module compute its activations twice instead of keeping them. Raises ModelError where it cannot."""
    checkpointing_of(module)()
    for layer in module.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.training = True  # they do it in training only; the parts inside them, dropout among them, stay as is
