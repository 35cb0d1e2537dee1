"""Whether what a file holds fits the base it is to be used with: sizes, and that nothing was lost on the way."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from maquette.adapters.delta import Delta, Factors, Place, mapped, multiplied
from maquette.adapters.keys import Layout
from maquette.errors import CheckpointError
from maquette.families.weights import some


def origin(metadata: Mapping[str, str], layout: Layout) -> str:
    """What the file says of its base, where that is another one; empty otherwise."""
    stated = metadata.get("ss_base_model_version", layout.version)
    if stated.startswith(layout.version):
        return "The base may be of another family than the one it was trained for. "
    return f'The file says that it is for "{stated}", and this base is "{layout.version}": load that kind of base. '


def check_shapes(delta: Delta, layout: Layout, metadata: Mapping[str, str], file: Path) -> None:
    """Raise CheckpointError where an update does not have the size of its layer: the adapter is for another base."""
    wrong = []
    for place, update in delta.items():
        shape = layout.shapes[place]
        rows, columns = size_of(update.factors)
        count = shape[0] if update.axis == "out" else shape[1]
        magnitude_fits = update.magnitude is None or update.magnitude.numel() == count
        if (rows, columns) != (shape[0], shape.numel() // shape[0]) or not magnitude_fits:
            wrong.append(f"{place.path} (for {rows} x {columns}, the base has {list(shape)})")
    if wrong:
        raise CheckpointError(
            f"{file}: {len(wrong)} of {len(delta)} updates are for layers of another size: {some(sorted(wrong))}. "
            f"{origin(metadata, layout)}Nothing of it is used."
        )


def size_of(factors: Factors) -> tuple[int, int]:
    """Rows and columns of the flattened change; (0, 0) where the factors do not even fit each other."""
    try:
        shape = multiplied(mapped(factors, lambda tensor: tensor.to("meta", torch.float32))).shape
    except RuntimeError:
        return 0, 0
    return shape[0], math.prod(shape[1:])


def check_whole(
    delta: Delta,
    layout: Layout,
    metadata: Mapping[str, str],
    configs: Mapping[str, Mapping[str, object]],
    file: Path,
) -> None:
    """Raise CheckpointError where layers were lost on the way.

    Some tools never put ``to_out.0`` into the model or the file, because it sits inside a list, and loaders do not
    notice. A file that says how many layers it has, or which, is taken at its word.
    """
    declared = metadata.get("maquette.layers")
    if declared is not None:
        if declared != str(len(delta)):
            raise CheckpointError(
                f"{file}: it says that it has {declared} layers, and has {len(delta)}: some were removed. "
                "Export it again."
            )
        return
    lost = []
    for place in layout.shapes:
        block = place.path.removesuffix(".to_out.0")
        inputs = [Place(place.module, f"{block}.{name}") for name in ("to_q", "to_k", "to_v")]
        if block != place.path and place not in delta and all(p in delta for p in inputs):
            targets = configs.get(place.module, {}).get("target_modules")
            if targets is None or is_target(place.path, targets):
                lost.append(place.path)
    if lost:
        raise CheckpointError(
            f"{file}: it changes to_q, to_k and to_v of {len(lost)} attentions, but not their to_out.0: "
            f"{some(sorted(lost))}. The tool that wrote it lost them, as some do without saying. Export it again with "
            "another tool."
        )


def is_target(path: str, targets: object) -> bool:
    """Whether peft's target_modules mean a layer: ends of paths in a list, a regular expression in a string."""
    if isinstance(targets, str):
        return re.fullmatch(targets, path) is not None
    assert isinstance(targets, Sequence)
    return any(path == target or path.endswith(f".{target}") for target in targets)
