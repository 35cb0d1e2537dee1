"""What comes out of a run: files that load elsewhere, proven as they are written."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, assert_never

from safetensors import SafetensorError
from torch import Tensor

from maquette.adapters.about import About
from maquette.adapters.bank import Bank
from maquette.adapters.combined import Attached, Combined
from maquette.adapters.delta import Delta
from maquette.adapters.embeddings import SUFFIX, TokenSet, write_embeddings, write_one
from maquette.adapters.export import export_adapter, export_both
from maquette.adapters.files import write_tensors
from maquette.adapters.full import Full
from maquette.adapters.injected import Injected
from maquette.adapters.keys import Layout
from maquette.adapters.tokens import LearnedTokens
from maquette.config.adapter import FullConfig
from maquette.config.bank import file_name_of
from maquette.errors import CheckpointError
from maquette.families import single_file
from maquette.families.folder import save_folder
from maquette.families.placement import DTYPES, held_in
from maquette.families.sd import StableDiffusion
from maquette.families.sdxl import StableDiffusionXL
from maquette.generation.sample import scheduler_config
from maquette.runs.rundir import RAW, RunDir
from maquette.training.prepare import Job
from maquette.training.previews import as_exported

PREDICTIONS: Mapping[str, Literal["epsilon", "v"]] = {"epsilon": "epsilon", "v_prediction": "v"}
"""What metadata calls what a network predicts; it has no word for others."""


def export_result(job: Job, run: RunDir, layout: Layout) -> list[Path]:
    """Write what was trained: an adapter in both dialects and new tokens, or a whole model as a diffusers folder.

    layout: of the family before anything was attached. Beside a moving average, the weights as they are go into a
    folder of their own. Returns the paths, the main one first.
    """
    paths = export_now(job, run.export, run.root.name, layout)
    if job.ema is not None:
        paths += _write(job, run.export / RAW, run.root.name, layout)
    return paths


def export_now(job: Job, folder: Path, name: str, layout: Layout) -> list[Path]:
    """Write what is trained as it is now, the moving average where there is one; return the paths, main one first."""
    with as_exported(job):
        return _write(job, folder, name, layout)


def export_step(job: Job, run: RunDir, layout: Layout, step: int) -> None:
    """Write adapter and new tokens as they are after a step; kept for every checkpoint, since they are small."""
    if isinstance(job.config.adapter, FullConfig):
        return
    precision = job.config.output.precision
    said = about(job, step_file(run, step).stem)
    with as_exported(job):
        for one in exported(job, run.steps, run.root.name):
            one.folder.mkdir(parents=True, exist_ok=True)
            path = one.folder / _after(one.name, step, ".safetensors")
            if delta := delta_of(one.trainable):
                export_adapter(path, delta, layout, "kohya", about(job, path.stem, one.concept), precision=precision)
        if tokens := tokens_of(job, layout):
            write_one(step_tokens(run, step), tokens, said)


def step_file(run: RunDir, step: int) -> Path:
    """Where the adapter as it is after a step is kept."""
    return run.steps / _after(run.root.name, step, ".safetensors")


def step_tokens(run: RunDir, step: int) -> Path:
    """Where the new tokens as they are after a step are kept."""
    return run.steps / _after(run.root.name, step, SUFFIX)


def _after(name: str, step: int, suffix: str) -> str:
    return f"{name}-step{step:08d}{suffix}"


def _write(job: Job, folder: Path, name: str, layout: Layout) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(job.config.adapter, FullConfig):
        return _write_model(job, folder, name)
    paths, precision = [], job.config.output.precision
    for one in exported(job, folder, name):
        one.folder.mkdir(exist_ok=True)
        if delta := delta_of(one.trainable):
            said = about(job, one.name, one.concept)
            paths += export_both(one.folder, delta, layout, said, precision=precision).values()
    if tokens := tokens_of(job, layout):
        paths += write_embeddings(folder, tokens, about(job, name))
    return paths


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """An adapter that becomes files of its own. concept: whose it is, in a bank; None where there is one adapter."""

    folder: Path
    name: str
    trainable: Attached
    concept: int | None = None


def exported(job: Job, folder: Path, name: str) -> list[Exported]:
    """The adapters of a run and where their files go: of a bank, a folder for each concept, named for its trigger."""
    if not isinstance(job.trainable, Bank):
        return [Exported(folder, name, job.trainable)]
    triggers = [file_name_of(concept.trigger or "") for concept in job.config.concepts]
    return [
        Exported(folder / called, f"{name}-{called}", part, number)
        for number, (called, part) in enumerate(zip(triggers, job.trainable.parts, strict=True))
    ]


def _write_model(job: Job, folder: Path, name: str) -> list[Path]:
    """A diffusers folder, and on request one file, in the precision that was asked for; training goes on as it was."""
    target = folder / "model"
    with held_in(DTYPES[job.config.output.precision], job.family.modules.values()):
        try:
            save_folder(job.family, target)
        except (OSError, SafetensorError) as error:
            cure = "Make room there, and finish with --resume."
            raise CheckpointError(f"{folder}: the model cannot be written ({error}). {cure}") from error
        if not job.config.output.single_file:
            return [target]
        file = folder / f"{name}.safetensors"
        assert isinstance(job.family, StableDiffusion | StableDiffusionXL)
        write_tensors(file, single_file.tensors_of(job.family), single_file.metadata_of(job.family))
        return [target, file]


def delta_of(trainable: Attached) -> Delta:
    """What adapters do to each layer now. Raises TypeError for a whole module, which is saved as a model."""
    match trainable:
        case Injected():
            return trainable.updates()
        case LearnedTokens():
            return {}
        case Combined(parts=parts):
            return {place: update for part in parts for place, update in delta_of(part).items()}
        case Full():
            raise TypeError(f"{trainable.module} is trained whole: it is saved as a model")
        case _:
            assert_never(trainable)


def tokens_of(job: Job, layout: Layout) -> TokenSet | None:
    """The new tokens as they are now; None where none are learned."""
    rows = rows_of(job.trainable)
    if not rows:
        return None
    ends = {tokenizer.eos_token_id for tokenizer in job.family.tokenizers.values()}
    (end_token,) = ends  # CLIP's vocabulary is one for all encoders
    return TokenSet(job.family.words, rows, layout.version, end_token)


def rows_of(trainable: Attached | Bank) -> dict[str, Tensor]:
    """The rows of new tokens now, by text encoder; none where none are learned."""
    match trainable:
        case LearnedTokens(module=module, rows=rows):
            return {module: rows}
        case Combined(parts=parts):
            return {module: rows for part in parts for module, rows in rows_of(part).items()}
        case _:
            return {}


def about(job: Job, name: str, concept: int | None = None) -> About:
    """What the adapter's files say of themselves; names and numbers, no paths. concept: whose it is, in a bank."""
    config, dataset = job.config, job.dataset
    called = [c.trigger for k, c in enumerate(config.concepts) if c.trigger and not c.virtual and concept in (None, k)]
    learned = [s for s in dataset.samples if not s.is_class and concept in (None, s.concept)]
    prediction = scheduler_config(job.family.pipeline()).get("prediction_type", "epsilon")
    return About(
        title=name,
        trigger=config.data.trigger or ", ".join(called) or None,
        size=dataset.sizes[0] if len(dataset.sizes) == 1 else job.family.default_size,
        prediction=PREDICTIONS.get(str(prediction)),
        date=datetime.now(UTC).replace(microsecond=0).isoformat(),
        training={
            "seed": config.training.seed,
            "learning_rate": config.denoiser_lr,
            "unet_lr": config.denoiser_lr,
            "text_encoder_lr": config.text_encoder_lr if config.text_encoder.train != "none" else 0.0,
            "steps": job.steps,
            "num_train_images": len(learned),
            "clip_skip": config.model.clip_skip,
        },
    )
