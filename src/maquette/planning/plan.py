"""A configuration -> what would happen: what is trained, on what, how long, in how much memory and on how much disk."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from maquette.adapters.bank import num_adapters
from maquette.config.schema import RunConfig
from maquette.data.buckets import fitted
from maquette.data.cache import Cache
from maquette.data.dataset import over
from maquette.data.encode import Encoders
from maquette.data.gather import class_sources, held_out, training_sizes
from maquette.data.sample import Sample, Scan, Size, joined
from maquette.data.scan import scan as scan_folder
from maquette.generation.class_images import DEFAULT_COUNT
from maquette.planning.blank import META, Blank, blank_base, frozen_bytes
from maquette.planning.costs import measured
from maquette.planning.estimate import free_memory, memory, seconds, shapes
from maquette.planning.sizes import FP32, cache_bytes, disk_bytes, parameter_bytes
from maquette.planning.starts import start_costs
from maquette.planning.step import step_costs
from maquette.planning.words import Words, words_of
from maquette.report.words import count_of
from maquette.training.checked import Checked, checked
from maquette.training.opening import unused
from maquette.training.prepare import attached, packs_weights
from maquette.training.processes import ALONE, Processes


@dataclass(frozen=True, slots=True)
class Group:
    """What is trained together: its number of parameters, learning rate, and the step from which it rests."""

    name: str
    parameters: int
    lr: float
    halt_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do.

    weights, beside, products: dtypes, as ``Blank`` has them. pictures, held_out: to learn from, and for validation.
    class_images, class_images_to_make: in all, and not there yet. draws: of one pass over the pictures, with their
    repeats. batch: pictures of one step. buckets: pictures by (height, width). views, captions_kept: encoded once.
    disk, memory: bytes by purpose; memory is that of the training device. seconds: by phase, estimated. teraflop:
    arithmetic of one step. captions: each one once. start: how the adapter starts, where that is not at random.
    """

    base: str
    device: str
    weights: str
    beside: str | None
    products: str
    groups: Sequence[Group]
    pictures: int
    held_out: int
    class_images: int
    class_images_to_make: int
    draws: int
    batch: int
    steps: int
    buckets: Sequence[tuple[Size, int]]
    views: int
    captions_kept: int
    disk: Mapping[str, int]
    memory: Mapping[str, int]
    seconds: Mapping[str, float]
    teraflop: float
    captions: Sequence[Words]
    start: str
    warnings: Sequence[str]

    @property
    def steps_per_pass(self) -> float:
        """Optimizer steps in which every picture is drawn as often as it counts."""
        return self.draws / self.batch


def plan(config: RunConfig, out: Path, processes: Processes = ALONE) -> Plan:
    """What a run would do; nothing is written, and no weights are read.

    out: the run's folder, of whose disk the free space is looked at. processes: who would share the work. Raises what
    starting the run would raise for its settings, its folder, its pictures and its base's configs.
    """
    found = checked(config, out, processes=processes)
    config, device = found.config, found.device
    blank = blank_base(config, device)
    sizes = training_sizes(config.data, blank.family)
    classes, to_make = class_images(config, blank.family.default_size)
    scan = fitted(joined([found.scan, classes]), sizes, upscale=config.data.upscale)
    told = planned(found, blank, scan.usable(), to_make)
    warnings = [*scan.warnings(), *found.doubts, *unused(config, blank.family), *doubts(told, device, out)]
    return replace(told, warnings=warnings)


def planned(found: Checked, blank: Blank, samples: Sequence[Sample], to_make: int) -> Plan:
    """The plan of a run over samples, without its warnings."""
    config, device, family = found.config, found.device, blank.family
    steps = config.training.steps
    assert steps != "auto"
    requests = found.requests(family, samples)
    trained, held = held_out(samples, config.validation.hold_out) if config.validation else (list(samples), [])
    encoders = Encoders(family, Cache(), META, "", "")
    dataset = over(config, trained, encoders)
    kept = [part.to_keep() for part in (dataset, *([over(config, held, encoders)] if held else []))]
    views, texts = sum(len(views) for views, _ in kept), {text for _, texts in kept for text in texts}

    trainable = attached(config, family)
    groups = [Group(g.name, sum(p.numel() for p in g.params), g.lr, g.halt_at) for g in trainable.groups]
    numbers = parameter_bytes(trainable.groups) // FP32
    saved = [part for part in family.pipeline().components.values() if isinstance(part, nn.Module)]
    every = sum(param.numel() for part in saved for param in part.parameters())
    frozen = frozen_bytes(config, blank)
    start = start_costs(config, trainable, device)
    work, size, rows = shapes(dataset, steps)
    held_to_base = config.preservation is not None
    packs = packs_weights(config, device, blank.compute)
    costs = step_costs(
        blank, trainable, size, rows, text_trained=dataset.text_trained, preserved=held_to_base, packs=packs
    )
    counts = {"views": views, "parameters": numbers, "prompts": len(requests), "class images": to_make, "rows": rows}
    cached = cache_bytes([(views, costs.code_bytes), (len(texts), costs.text_bytes)])
    pixels = family.default_size[0] * family.default_size[1]
    subjects = [i for i, sample in enumerate(trained) if not sample.is_class]
    learned = [(s.caption, trigger_of(config, s)) for s in samples if not s.is_class]
    machine = measured(device, blank.compute)
    return Plan(
        base=Path(config.model.base).name if Path(config.model.base).exists() else config.model.base,
        device=str(device),
        weights=str(blank.held).removeprefix("torch."),
        beside=None if blank.beside is None else str(blank.beside).removeprefix("torch."),
        products=str(blank.compute).removeprefix("torch."),
        groups=groups,
        pictures=len(subjects),
        held_out=len(held),
        class_images=sum(sample.is_class for sample in trained),
        class_images_to_make=to_make,
        draws=sum(trained[i].repeats for i in subjects),
        batch=config.training.batch_size * config.training.gradient_accumulation * num_adapters(trainable),
        steps=steps,
        buckets=sorted(Counter(dataset.size_of(i) for i in subjects).items()),
        views=views,
        captions_kept=len(texts),
        disk=disk_bytes(config, trainable.groups, start.kept, cached, every, pixels, len(requests)),
        memory=memory(config, dataset, frozen, costs, trainable.groups, start, device),
        seconds=seconds(config, machine, costs, work, counts, start),
        teraflop=work * costs.both.flops / 1e12,
        captions=[
            words
            for tokenizer in list(family.tokenizers.values())[:1]  # none where captions are not read
            for words in words_of(tokenizer, learned, family.words)
        ],
        start=start.words,
        warnings=[],
    )


def class_images(config: RunConfig, size: Size) -> tuple[Scan, int]:
    """Class images as training would find them, and how many of them it would first have to make.

    size: of those that are made.
    """
    section = config.class_images
    if section is None:
        return Scan(()), 0
    there = joined([scan_folder(source) for source in class_sources(config) if source.folder.is_dir()])
    words = [concept.class_prompt for concept in config.concepts] or [section.prompt]
    missing = [
        Sample(f"class-{i:04d}.png", prompt, size, f"{number}/{i}", concept=number, is_class=True)
        for number, prompt in enumerate(words)
        if prompt is not None
        for i in range(sum(s.concept == number for s in there.samples), section.count or DEFAULT_COUNT)
    ]
    return Scan((*there.samples, *missing), there.findings), len(missing)


def trigger_of(config: RunConfig, sample: Sample) -> str | None:
    """The trigger of a picture's concept."""
    return config.concepts[sample.concept].trigger if config.concepts else config.data.trigger


def doubts(plan: Plan, device: torch.device, out: Path) -> list[str]:
    """What the person should think about before starting."""
    told = []
    if cut := [words for words in plan.captions if words.is_cut]:
        lost = sum(words.pictures for words in cut)
        told.append(
            f"Captions are longer than the text encoder reads, of {count_of(lost, 'picture')}; what is cut is marked."
        )
    if plan.steps < plan.steps_per_pass:
        told.append(
            f"{plan.steps} steps end before every picture was drawn once, which takes {plan.steps_per_pass:.0f}. "
            "Raise training.steps or training.batch_size."
        )
    free, needed = free_memory(device), sum(plan.memory.values())
    if free is not None and needed > free:
        told.append(
            f"About {needed / 2**30:.1f} GiB of memory are needed, and {free / 2**30:.1f} GiB are free on {device}. "
            "Lower training.batch_size or data.resolution, or set training.gradient_checkpointing = true."
        )
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    space = shutil.disk_usage(place).free
    if sum(plan.disk.values()) > space:
        told.append(
            f"About {sum(plan.disk.values()) / 2**30:.1f} GiB will be written, and {space / 2**30:.1f} GiB are free "
            f"where {out.name} is to be. Make room, lower checkpoints.keep, or name another folder with --out."
        )
    return told
