"""Everything that a run must remember to go on, as the pieces of a checkpoint."""

from collections.abc import Mapping, Sequence
from typing import cast

from maquette.data.sample import Sample
from maquette.training.checkpoint import Checkpoint, Json, Piece
from maquette.training.loop import Progress
from maquette.training.opening import contents, refuse_other_pictures
from maquette.training.optim import pack_state, unpack_state
from maquette.training.prepare import Job


def pieces_of(job: Job, progress: Progress, samples: Sequence[Sample], seconds: float) -> Mapping[str, Piece]:
    """What a checkpoint holds. seconds: how long the run has taken."""
    pieces = {
        "adapter": Piece(job.trainable.state_dict()),
        "optimizer": pack_state(job.optimizer),
        "progress": Piece({}, {"images_seen": progress.images_seen, "seconds": seconds}),
        "pictures": Piece({}, cast(Json, contents(samples))),
    }
    if job.ema is not None:
        pieces["ema"] = job.ema.state()
    if job.runtime.scaler is not None:
        pieces["scaler"] = Piece({}, job.runtime.scaler.state_dict())
    return pieces


def restore(job: Job, progress: Progress, samples: Sequence[Sample], saved: Checkpoint) -> float:
    """Put a checkpoint into a job and its progress; return the seconds that the run had taken.

    Raises CheckpointError where it is of another run: of other pictures, parameters or another optimizer.
    """
    refuse_other_pictures(cast(dict[str, str], saved.pieces["pictures"].values), samples)
    job.trainable.load_state_dict(saved.pieces["adapter"].tensors)
    unpack_state(job.optimizer, saved.pieces["optimizer"])
    if job.ema is not None:
        job.ema.load(saved.pieces["ema"])
    if job.runtime.scaler is not None:
        job.runtime.scaler.load_state_dict(cast(dict[str, object], saved.pieces["scaler"].values))
    values = cast(dict[str, float], saved.pieces["progress"].values)
    progress.step = saved.step
    progress.images_seen = int(values["images_seen"])
    return float(values["seconds"])
