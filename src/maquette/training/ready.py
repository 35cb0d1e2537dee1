"""What comes before the first step: the base loaded, class images made, pictures encoded, layers attached."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

import torch

from maquette.adapters.keys import Layout, layout_of
from maquette.config.toml import dump
from maquette.data.buckets import fitted
from maquette.data.gather import gather, training_sizes
from maquette.data.image import decode
from maquette.data.sample import Sample, Scan
from maquette.families.allocation import keep_freed_memory
from maquette.generation.class_images import complete_classes
from maquette.generation.sample import Request
from maquette.report.pictures import FOLDER, save_thumbnails
from maquette.runs.files import write_text
from maquette.runs.rundir import RunDir
from maquette.training import prepare
from maquette.training.checked import Checked
from maquette.training.checkpoint import all_checkpoints
from maquette.training.console import counting
from maquette.training.opening import contents, cut_captions, load_base, unused
from maquette.training.prepare import Job
from maquette.training.processes import Processes
from maquette.training.scoring import Scoring, open_scoring
from maquette.training.versions import versions


class Ready(NamedTuple):
    """A job, the run's folder, and what is drawn and learned from along the way.

    layout: of the family before anything was attached. requests: the previews. scan: what it learns from. scoring: what
    is scored, if anything. warnings: what to say at the beginning.
    """

    job: Job
    directory: RunDir
    layout: Layout
    requests: Sequence[Sequence[Request]]
    scan: Scan
    scoring: Scoring | None
    warnings: Sequence[str]


def ready(found: Checked, directory: RunDir, processes: Processes) -> Ready:
    """Load the base, make missing class images, encode the pictures, and attach what is trained.

    What takes long comes last: a mistake is found before it. Several processes share it, and meet when it is done.
    """
    config, device, first = found.config, found.device, processes.is_first
    family = load_base(config, device)
    layout = layout_of(family.modules)
    sizes = training_sizes(config.data, family)
    scan = fitted(found.scan, sizes, upscale=config.data.upscale)
    requests = found.requests(family, scan.usable())
    scoring = None if found.scored is None else open_scoring(config, found.scored, scan.usable())
    doubts = [*found.doubts, *cut_captions(family, scan.usable()), *unused(config, family)]
    if first:
        write_text(directory.config, dump(config))
        write_text(directory.versions, json.dumps(versions(), indent=2) + "\n")
    processes.meet()
    with counting("Class images", shown=first) as report:
        folders = complete_classes(config, family, directory.class_images, sizes, report, processes.part)
    processes.meet()
    if folders:
        scan = fitted(gather(config, class_folders=folders), sizes, upscale=config.data.upscale)
    samples = scan.usable()
    if first:
        keep_thumbnails(directory, samples, shown=config.output.thumbnails)
    dataset, held = prepare.data_sets(config, samples, family, directory.root / "cache", device)
    for part in (dataset, held):
        if part is not None:
            with counting("Encoding", shown=first) as report:
                part.prepare(report, processes.part)
    will_be_loaded = bool(all_checkpoints(directory.checkpoints))  # a new run's folder was empty
    with counting("Starting values", shown=first) as report:
        job = prepare.assemble(config, family, dataset, held, device, processes, None if will_be_loaded else report)
    share_start(job, processes)
    if first:
        keep_start(directory, job)
    job.idle.leave()
    keep_freed_memory(device)
    if processes.count > 1:
        processes.require_same(identity(job, directory, samples))
    return Ready(job, directory, layout, requests, scan, scoring, (*scan.warnings(), *doubts, *job.start.warnings))


def keep_start(run: RunDir, job: Job) -> None:
    """Write down what each layer's start was taken from, where it was not at random."""
    if job.start.layers:
        layers = {name: asdict(layer) for name, layer in job.start.layers.items()}
        write_text(run.start, json.dumps(layers, indent=2) + "\n")


def keep_thumbnails(run: RunDir, samples: Sequence[Sample], *, shown: bool) -> None:
    """Keep small copies of the training pictures, without their metadata, for the report."""
    pictures = ((decode(s.read(), s.name).rgb, s.caption) for s in samples if not s.is_class)
    save_thumbnails(run.root / FOLDER, pictures, captions_only=not shown)


def share_start(job: Job, processes: Processes) -> None:
    """Give all processes the first one's starting values, where they were computed: GPUs may round them differently."""
    if processes.count > 1 and job.start.layers:
        tensors = list(job.trainable.state_dict().values())
        if not processes.is_first:
            for tensor in tensors:
                tensor.zero_()
        processes.add(tensors)


def identity(job: Job, directory: RunDir, samples: Sequence[Sample]) -> Mapping[str, str]:
    """What must be the same in all processes, by its name in a message."""
    modules = (job.family.modules["denoiser"], *(job.family.modules[name] for name in sorted(job.trainable.touches)))
    encoders = job.dataset.encoders
    return {
        "settings": _digest(dump(job.config)),
        "pictures and captions": _digest(json.dumps(contents(samples), sort_keys=True)),
        "run's folder": _digest(directory.config.read_text(encoding="utf-8") if directory.config.is_file() else ""),
        "base model": f"{encoders.image_key}/{encoders.text_key}/" + "/".join(map(_weight, modules)),
        "versions of maquette and torch": _digest(json.dumps(versions()["libraries"], sort_keys=True)),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@torch.no_grad()
def _weight(module: torch.nn.Module) -> str:
    """The sum of all parameters' sizes; in few enough digits that the order of adding does not show."""
    return f"{sum(float(param.double().abs().sum()) for param in module.parameters()):.9g}"
