"""Stops a run whose numbers have gone wrong, before a wrong one reaches a checkpoint."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from maquette.errors import ModelError


def check_finite(
    step: int, loss: float, grad_norm: float, names_at: Callable[[int], Sequence[str]], checkpoint: Path | None
) -> None:
    """Raise ModelError for a loss or gradient that is not finite, naming the step's pictures and the way back.

    step: counted from 1; the pictures are those of step - 1, as batches are counted.
    """
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    what = "loss" if not math.isfinite(loss) else "gradient"
    pictures = ", ".join(dict.fromkeys(names_at(step - 1)))
    back = "No checkpoint had been written." if checkpoint is None else f"The last good checkpoint is {checkpoint}."
    raise ModelError(
        f"step {step}: the {what} is not finite; training has stopped before it could spoil the weights. The pictures "
        f'of that step: {pictures}. {back} Lower optimizer.lr, use model.precision = "bf16" or "fp32" in place of '
        "fp16, or look at those pictures."
    )
