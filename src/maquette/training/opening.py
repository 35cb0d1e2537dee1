"""What a run needs before anything is trained: its pictures, its base, and the right to go on where it stopped."""

from collections.abc import Sequence

from maquette.config.adapter import FullConfig
from maquette.config.compare import resume_refusals
from maquette.config.schema import RunConfig
from maquette.data.image import decode
from maquette.data.sample import Sample
from maquette.errors import ConfigError
from maquette.families.base import Family
from maquette.families.load import load_family
from maquette.report.pictures import FOLDER, save_thumbnails
from maquette.runs.rundir import RunDir


def load_base(config: RunConfig) -> Family:
    """The base model of a run. What will be trained whole is loaded in fp32, so that nothing of it is rounded away."""
    model = config.model
    return load_family(
        model.base,
        device=config.training.device,
        precision="fp32" if isinstance(config.adapter, FullConfig) else model.precision,
        revision=model.revision,
        variant=model.variant,
        vae=model.vae,
        tokenizer=model.tokenizer,
        clip_skip=model.clip_skip,
    )


def refuse_changes(old: RunConfig, new: RunConfig) -> None:
    """Raise ConfigError, with every difference, where a resumed run would not be the one that it continues."""
    refused = resume_refusals(old, new)
    if refused:
        listed = "\n".join(f"  {change}" for change in refused)
        raise ConfigError(
            f"--resume: the run was started with other settings:\n{listed}\nResume with the settings it was started "
            "with (`maquette train --resume --out RUN` takes them from the run), or start a new run with another --out."
        )


def keep_thumbnails(run: RunDir, samples: Sequence[Sample], *, shown: bool) -> None:
    """Keep small copies of the training pictures, without their metadata, for the report."""
    pictures = ((decode(s.read(), s.name).rgb, s.caption) for s in samples if not s.is_class)
    save_thumbnails(run.root / FOLDER, pictures, captions_only=not shown)
