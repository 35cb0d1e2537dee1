"""What comes out of a run: files that load elsewhere, proven as they are written."""

from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn

from maquette.adapters.about import About
from maquette.adapters.base import Trainable
from maquette.adapters.combined import Combined
from maquette.adapters.delta import Delta
from maquette.adapters.export import DTYPES, export_adapter, export_both
from maquette.adapters.files import write_tensors
from maquette.adapters.injected import Injected
from maquette.adapters.keys import Layout
from maquette.config.adapter import FullConfig
from maquette.errors import CheckpointError
from maquette.families import single_file
from maquette.families.folder import save_folder
from maquette.families.sd import StableDiffusion
from maquette.families.sdxl import StableDiffusionXL
from maquette.generation.sample import scheduler_config
from maquette.runs.rundir import RunDir
from maquette.training.prepare import Job
from maquette.training.previews import as_exported


def export_result(job: Job, run: RunDir, layout: Layout, *, raw: bool = True) -> list[Path]:
    """Write what was trained: an adapter in both dialects, or a whole model as a diffusers folder.

    layout: of the family before anything was attached. raw: beside a moving average, also write the weights as they
    are, in a folder of their own. Returns the paths, the main one first.
    """
    paths = export_now(job, run.export, run.root.name, layout)
    if raw and job.ema is not None:
        paths += _write(job, run.export / "raw", run.root.name, layout)
    return paths


def export_now(job: Job, folder: Path, name: str, layout: Layout) -> list[Path]:
    """Write what is trained as it is now, the moving average where there is one; return the paths, main one first."""
    with as_exported(job):
        return _write(job, folder, name, layout)


def export_step(job: Job, run: RunDir, layout: Layout, step: int) -> None:
    """Write the adapter as it is after a step, in kohya's dialect; kept for every checkpoint, since it is small."""
    if isinstance(job.config.adapter, FullConfig):
        return
    path = step_file(run, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    with as_exported(job):
        delta = delta_of(job.trainable)
        export_adapter(path, delta, layout, "kohya", about(job, path.stem), precision=job.config.output.precision)


def step_file(run: RunDir, step: int) -> Path:
    """Where the adapter as it is after a step is kept."""
    return run.export / "steps" / f"{run.root.name}-step{step:08d}.safetensors"


def _write(job: Job, folder: Path, name: str, layout: Layout) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(job.config.adapter, FullConfig):
        return _write_model(job, folder, name)
    precision = job.config.output.precision
    delta = delta_of(job.trainable)
    return list(export_both(folder, delta, layout, about(job, name), precision=precision).values())


def _write_model(job: Job, folder: Path, name: str) -> list[Path]:
    """A diffusers folder, and on request one file, in the precision that was asked for; training goes on in fp32."""
    dtype = DTYPES[job.config.output.precision]
    before = {module: next(module.parameters()).dtype for module in job.family.modules.values()}
    target = folder / "model"
    kept = (
        {param: param.detach().clone() for group in job.trainable.groups for param in group.params}
        if dtype is not torch.float32
        else {}
    )
    try:
        for module in before:
            nn.Module.to(module, dtype=dtype)  # diffusers' own warns of layers to keep in fp32 where there are none
        try:
            save_folder(job.family, target)
        except (OSError, SafetensorError) as error:
            cure = "Make room there, and finish with --resume."
            raise CheckpointError(f"{folder}: the model cannot be written ({error}). {cure}") from error
        paths = [target]
        if job.config.output.single_file:
            file = folder / f"{name}.safetensors"
            assert isinstance(job.family, StableDiffusion | StableDiffusionXL)
            write_tensors(file, single_file.tensors_of(job.family), single_file.metadata_of(job.family))
            paths.append(file)
        return paths
    finally:
        for module, was in before.items():
            nn.Module.to(module, dtype=was)
        with torch.no_grad():
            for param, value in kept.items():
                param.copy_(value)


def delta_of(trainable: Trainable) -> Delta:
    """What adapters do to each layer now."""
    match trainable:
        case Injected():
            return trainable.updates()
        case Combined(parts=parts):
            return {place: update for part in parts for place, update in delta_of(part).items()}
        case _:
            raise TypeError(f"{type(trainable).__name__} is no adapter: it is saved as a model")


def about(job: Job, name: str) -> About:
    """What the adapter's files say of themselves; names and numbers, no paths."""
    config, dataset = job.config, job.dataset
    prediction = scheduler_config(job.family.pipeline()).get("prediction_type")
    return About(
        title=name,
        trigger=config.data.trigger,
        size=dataset.sizes[0] if len(dataset.sizes) == 1 else job.family.default_size,
        prediction="v" if prediction == "v_prediction" else "epsilon",
        date=datetime.now(UTC).replace(microsecond=0).isoformat(),
        training={
            "seed": config.training.seed,
            "learning_rate": config.denoiser_lr,
            "unet_lr": config.denoiser_lr,
            "text_encoder_lr": config.text_encoder_lr if config.text_encoder.train != "none" else 0.0,
            "steps": job.steps,
            "num_train_images": sum(not sample.is_class for sample in dataset.samples),
            "clip_skip": config.model.clip_skip,
        },
    )
