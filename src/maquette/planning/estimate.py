"""How much memory and time a run will take: costs counted on shapes, at speeds measured on the device."""

from collections import Counter
from collections.abc import Mapping, Sequence

import psutil
import torch

from maquette.adapters.base import ParamGroup
from maquette.config.schema import RunConfig
from maquette.data.dataset import Dataset
from maquette.data.sample import Size
from maquette.planning.costs import Machine
from maquette.planning.sizes import optimizer_bytes, parameter_bytes, times
from maquette.planning.starts import StartCosts
from maquette.planning.step import StepCosts
from maquette.training.idle import is_needed

SAMPLED = 64
"""Steps whose micro-batches are looked at for the mean work of a step."""

LIBRARIES = 450 << 20
"""Memory of Python and its libraries in a process on a CPU. Source: measured, torch 2.13 with diffusers 0.42."""

UPDATE_BYTES = 28
"""Traffic of an optimizer for one parameter: weight, gradient and two moments read, three of them written, in fp32."""


def shapes(dataset: Dataset, steps: int) -> tuple[float, Size, int]:
    """(work, size, rows): the largest micro-batch, and how many times its pixels a step has on average."""
    looked_at = range(min(steps, SAMPLED))
    found = Counter(
        (dataset.size_of(rows.indices[0]), len(rows.indices)) for step in looked_at for rows in dataset.plan(step)
    )
    size, rows = max(found, key=lambda shape: (shape[0][0] * shape[0][1] * shape[1], shape))
    pixels = sum(height * width * n * count for ((height, width), n), count in found.items())
    return pixels / (size[0] * size[1] * rows * len(looked_at)), size, rows


def memory(
    config: RunConfig,
    dataset: Dataset,
    frozen: Mapping[str, int],
    costs: StepCosts,
    groups: Sequence[ParamGroup],
    start: StartCosts,
    device: torch.device,
) -> dict[str, int]:
    """Bytes on the training device while steps are made, by what they are for; more, where a start needs more."""
    stays = {name: device.type == "cpu" or is_needed(name, dataset) for name in frozen}
    trained = parameter_bytes(groups)
    counted = sum(param.nbytes for group in groups for param in group.params)
    optimizer, ema = optimizer_bytes(config.optimizer, groups), trained if config.training.ema else 0
    return {
        "frozen weights": sum(size for name, size in frozen.items() if stays[name]),
        "frozen weights, packed": costs.packed_bytes,
        "trained weights": trained,
        "starting values": start.kept,
        # The start is over, and its sums are gone, before there is any of these three.
        "sums before the first step": max(0, start.sums - optimizer - ema - costs.packed_bytes),
        "optimizer": optimizer,
        "moving average": ema,
        # Gradients were counted in the dtype of products, and are kept in fp32.
        "activations and gradients": costs.both.peak + trained - counted,
        "Python and its libraries": LIBRARIES if device.type == "cpu" else 0,
    }


def seconds(
    config: RunConfig,
    machine: Machine,
    costs: StepCosts,
    work: float,
    counts: Mapping[str, int],
    start: StartCosts,
) -> dict[str, float]:
    """Seconds of each phase.

    counts: views to encode, parameters that are trained, prompts of previews, class images to make, and rows of the
    micro-batch that was counted.
    """
    steps, preview, made = config.training.steps, config.preview, config.class_images
    assert steps != "auto"
    update = counts["parameters"] * UPDATE_BYTES / machine.bandwidth
    forward = machine.seconds(costs.forward) / counts["rows"]
    guided = forward * (1 if preview.guidance == 1 else 2)
    shown = times(preview.every, steps) * preview.num * counts["prompts"]
    return {
        "encoding": counts["views"] * machine.seconds(costs.encoding),
        "class images": counts["class images"] * (made.steps if made else 0) * 2 * forward,
        "starting values": start.passes * machine.seconds(costs.forward) * work / config.training.gradient_accumulation,
        "steps": steps * (work * machine.seconds(costs.both) + update),
        "previews": shown * preview.steps * guided,
    }


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device; None where it does not tell."""
    match device.type:
        case "cuda":
            return torch.cuda.mem_get_info(device)[0]
        case "cpu":
            return psutil.virtual_memory().available
        case _:
            return None
