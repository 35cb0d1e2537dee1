"""Adapter files in the two dialects, each proven when it is written: read back and compared layer by layer."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, assert_never

import torch
from torch import Tensor

from maquette.adapters.about import About, hashes, metadata_of
from maquette.adapters.delta import Delta, Dense, Loha, Lokr, LowRank, Place, Update, mapped, product, rank, view
from maquette.adapters.files import write_tensors
from maquette.adapters.keys import Dialect, Layout
from maquette.adapters.read import read_adapter
from maquette.errors import CheckpointError, ModelError
from maquette.families.placement import DTYPES
from maquette.families.weights import some

Precision = Literal["fp32", "fp16", "bf16"]


def export_adapter(
    path: Path, delta: Delta, layout: Layout, dialect: Dialect, about: About, *, precision: Precision = "fp32"
) -> None:
    """Write an adapter file and prove it.

    An fp32 file in kohya's dialect holds what was trained to the last bit. diffusers' dialect knows plain low-rank
    updates and DoRA only. Raises ModelError for an update that the dialect cannot express; CheckpointError where the
    file, read back, is not the adapter, in which case no file is left.
    """
    match dialect:
        case "kohya":
            tensors = kohya_tensors(delta, layout, DTYPES[precision])
            metadata = metadata_of(about, delta, layout, dialect)
        case "diffusers":
            refuse_inexpressible(delta)
            tensors = diffusers_tensors(delta, layout, DTYPES[precision])
            loader = {"lora_adapter_metadata": json.dumps(peft_metadata(delta, layout), sort_keys=True)}
            metadata = metadata_of(about, delta, layout, dialect) | loader
        case _:
            assert_never(dialect)
    candidate = path.with_name(f".{path.stem}.unproven.safetensors")
    try:
        write_tensors(candidate, tensors, {"format": "pt", **metadata, **hashes(tensors, metadata)})
        prove(candidate, delta, layout, DTYPES[precision])
        candidate.replace(path)
    finally:
        candidate.unlink(missing_ok=True)


def kohya_tensors(delta: Delta, layout: Layout, dtype: torch.dtype) -> dict[str, Tensor]:
    """Tensors in kohya's dialect and LyCORIS' names; each layer's true alpha beside it, so that any scale survives."""
    tensors: dict[str, Tensor] = {}
    for place, update in delta.items():
        name, weight = layout.kohya[place], torch.empty(layout.shapes[place], device="meta")
        tensors |= {f"{name}.{key}": value.to(dtype) for key, value in kohya_factors(update, weight.shape).items()}
        r = rank(update.factors)
        if not isinstance(update.factors, Dense):
            tensors[f"{name}.alpha"] = torch.tensor(1.0 if r is None else update.factors.scale * r)
        if update.magnitude is not None:
            magnitude = update.magnitude.reshape(view(weight, update.axis))
            tensors[f"{name}.dora_scale"] = magnitude.to(dtype)
    return tensors


def kohya_factors(update: Update, shape: torch.Size) -> dict[str, Tensor]:
    """The factors of one update under their names in kohya's and LyCORIS' files."""
    match update.factors:
        case LowRank(up, down):
            kernel = shape[2:]
            return {
                "lora_down.weight": down.reshape(down.shape[0], shape[1], *kernel),
                "lora_up.weight": up.reshape(shape[0], up.shape[1], *(1 for _ in kernel)),
            }
        case Loha() as loha:
            return {f"hada_{name}": getattr(loha, name) for name in tensor_names(loha)}
        case Lokr() as lokr:
            factors = {f"lokr_{name}": getattr(lokr, name) for name in tensor_names(lokr)}
            if rank(lokr) is None:  # two whole factors have no rank, and readers then take the scale to be 1
                factors["lokr_w1"] = factors["lokr_w1"] * lokr.scale
            return factors
        case Dense(diff, scale):
            return {"diff": scale * diff}
        case _:
            assert_never(update.factors)


def tensor_names(factors: Loha | Lokr) -> list[str]:
    """The names of those factors that there are."""
    return [name for name in type(factors).__slots__ if isinstance(getattr(factors, name), Tensor)]


def diffusers_tensors(delta: Delta, layout: Layout, dtype: torch.dtype) -> dict[str, Tensor]:
    """Tensors in diffusers' dialect; the scale is multiplied into B, because old readers take it to be 1."""
    tensors: dict[str, Tensor] = {}
    for place, update in delta.items():
        assert isinstance(update.factors, LowRank)
        name, shape = layout.diffusers[place], layout.shapes[place]
        factors = kohya_factors(update, shape)
        tensors[f"{name}.lora_A.weight"] = factors["lora_down.weight"].to(dtype)
        tensors[f"{name}.lora_B.weight"] = (update.factors.scale * factors["lora_up.weight"]).to(dtype)
        if update.magnitude is not None:  # peft keeps a convolution's with the channels second; transformers 5 needs
            # ".weight", and drops what comes without it
            magnitude = update.magnitude if len(shape) == 2 else update.magnitude.reshape(1, -1, 1, 1)
            tensors[f"{name}.lora_magnitude_vector.weight"] = magnitude.to(dtype)
    return tensors


def peft_metadata(delta: Delta, layout: Layout) -> dict[str, object]:
    """What diffusers' loader builds its layers from: alpha equal to rank, since B holds the scale already."""
    metadata: dict[str, object] = {}
    for module in dict.fromkeys(place.module for place in delta):
        updates = {bare(place): update for place, update in delta.items() if place.module == module}
        ranks = {path: r for path, update in updates.items() if (r := rank(update.factors)) is not None}
        common = Counter(ranks.values()).most_common(1)[0][0]
        others = {path: r for path, r in ranks.items() if r != common}
        config = {
            "r": common,
            "lora_alpha": common,
            "rank_pattern": others,
            "alpha_pattern": others,
            "target_modules": sorted(updates),
            "use_dora": any(update.magnitude is not None for update in updates.values()),
        }
        metadata |= {f"{layout.component[module]}.{key}": value for key, value in config.items()}
    return metadata


def bare(place: Place) -> str:
    """A layer's path as an end of its path in every version of its module; peft matches ends."""
    return place.path.removeprefix("text_model.")


def refuse_inexpressible(delta: Delta) -> None:
    """Raise ModelError, naming the layers, where diffusers' dialect has no way to say an update."""
    foreign = [
        f"{place.path} ({type(update.factors).__name__})"
        for place, update in delta.items()
        if not isinstance(update.factors, LowRank) or (update.magnitude is not None and update.axis == "in")
    ]
    if foreign:
        raise ModelError(
            "diffusers' dialect holds LoRA, and DoRA with one length per output; these updates are neither: "
            f"{some(foreign)}. Write kohya's dialect, or fuse the adapter into its base."
        )
    for module in {place.module for place in delta}:
        dora = {update.magnitude is not None for place, update in delta.items() if place.module == module}
        if len(dora) == 2:
            raise ModelError(
                f"{module}: some layers have a DoRA magnitude and some have none, which diffusers' dialect cannot say. "
                "Write kohya's dialect, or fuse the adapter into its base."
            )


def prove(path: Path, delta: Delta, layout: Layout, dtype: torch.dtype) -> None:
    """Read a file back and compare the update it makes of every layer with the given one.

    Raises CheckpointError, naming the layers, where any differs by more than its factors' rounding to the file's
    precision can explain.
    """
    read = read_adapter(path, layout).delta
    wrong = [f"{place.path} is not in it" for place in delta.keys() - read.keys()]
    wrong += [f"{place.path} was not trained" for place in read.keys() - delta.keys()]
    wrong += [
        f"{place.path} differs"
        for place, update in delta.items()
        if place in read and not same(update, read[place], layout.shapes[place], dtype)
    ]
    if wrong:
        raise CheckpointError(
            f"{path.name}: the file does not hold what was trained: {some(sorted(wrong))}. Nothing was exported. "
            'If the file was to be fp16, its range may be too small: write "fp32".'
        )


def same(one: Update, other: Update, shape: torch.Size, dtype: torch.dtype) -> bool:
    """Whether two updates agree up to the rounding of their factors to ``dtype``.

    A factor's error is at most eps / 2 of it, and eps * tiny / 2 below the normal range; a product of at most six of
    them, and the scale in one, therefore errs by little more than 3.5 eps of the product of their absolute values.
    """
    info = torch.finfo(dtype)
    bound = product(mapped(one.factors, lambda tensor: tensor.detach().abs().clamp(min=info.tiny)), shape).abs()
    error = (product(one.factors, shape) - product(other.factors, shape)).abs()
    if not bool((error <= 4 * info.eps * bound).all()):  # also false for NaN
        return False
    if one.magnitude is None or other.magnitude is None:
        return one.magnitude is other.magnitude
    near = torch.isclose(one.magnitude.double(), other.magnitude.double(), rtol=info.eps, atol=info.tiny)
    return one.axis == other.axis and bool(near.all())


def export_both(
    folder: Path, delta: Delta, layout: Layout, about: About, *, precision: Precision = "fp32"
) -> Mapping[Dialect, Path]:
    """Write every dialect that can hold the adapter, as TITLE.safetensors and pytorch_lora_weights.safetensors."""
    paths: dict[Dialect, Path] = {"kohya": folder / f"{about.title}.safetensors"}
    if all(isinstance(update.factors, LowRank) for update in delta.values()):
        paths["diffusers"] = folder / "pytorch_lora_weights.safetensors"
    for dialect, path in paths.items():
        export_adapter(path, delta, layout, dialect, about, precision=precision)
    return paths
