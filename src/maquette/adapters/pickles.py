"""Adapters and embeddings in pickled files: torch's, Paddle's and AUTOMATIC1111's, by the reader that runs nothing."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from maquette.adapters.paddle import SUFFIX, from_paddle
from maquette.errors import CheckpointError, ModelError
from maquette.families.pickled import read_pickled, tensors_in

ROWS = "string_to_param"
"""Where AUTOMATIC1111's embeddings hold their rows: under one word, which is not how they are called."""


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a pickled file in torch's layout; the rows of AUTOMATIC1111's embedding as "emb_params".

    Raises CheckpointError where the file is damaged, or asks for anything but arrays in plain containers.
    """
    try:
        content = read_pickled(path)
        rows = content.get(ROWS) if isinstance(content, Mapping) else None
        if rows is not None:
            return {"emb_params": _only(rows, path)}
        tensors = tensors_in(content, path)
    except ModelError as problem:
        raise CheckpointError(str(problem)) from None
    return from_paddle(tensors) if path.suffix == SUFFIX else tensors


def _only(rows: object, path: Path) -> Tensor:
    found = list(tensors_in(rows, path).values())
    if len(found) != 1:
        raise CheckpointError(f"{path}: holds {len(found)} embeddings, and such a file should be one.")
    return found[0]
