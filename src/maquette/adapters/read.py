"""Adapter files of any origin: kohya, diffusers, peft, LyCORIS, ai-toolkit, ppdiffusers; read whole or refused."""

import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from maquette.adapters.delta import Delta, Dense, Factors, Loha, Lokr, LowRank, Place, Update, rank
from maquette.adapters.embeddings import is_embedding
from maquette.adapters.files import read_tensors
from maquette.adapters.fit import check_shapes, check_whole, origin
from maquette.adapters.keys import Layout
from maquette.adapters.paddle import SUFFIX
from maquette.errors import CheckpointError
from maquette.families.weights import some
from maquette.runs.rundir import RAW, STEPS

logger = logging.getLogger(__name__)

PARTS: Mapping[str, str] = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_mid.weight": "mid",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
    "_lora.lora_A.weight": "down",
    "_lora.lora_B.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    ".alpha": "alpha",
    ".dora_scale": "dora_scale",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
    ".lora_magnitude_vector.default.weight": "magnitude",
    ".diff": "diff",
    **{f".hada_{name}": f"hada_{name}" for name in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
    **{f".lokr_{name}": f"lokr_{name}" for name in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")},
}
"""Ends of keys, and what they say the tensor is."""

OLD = ("pytorch_lora_weights.bin", "adapter_model.bin")
"""What diffusers and peft called an adapter in a folder before they wrote safetensors."""

EMBEDDING = "bundle_emb."
"""Begin keys of textual-inversion embeddings that some tools pack beside an adapter."""


@dataclass(frozen=True, slots=True, eq=False)
class AdapterFile:
    """What a file holds."""

    delta: Delta
    metadata: Mapping[str, str]


def read_adapter(path: Path, layout: Layout) -> AdapterFile:
    """Read an adapter file, or the one in a folder, for a family of the given layout.

    Raises CheckpointError where anything in the file is left over, incomplete, of other shapes than the base's layers,
    or missing from it although the rest of its attention is there. Embeddings packed beside it are reported.
    """
    file = locate(path)
    if is_embedding(file):
        raise CheckpointError(f"{file}: holds the rows of new tokens, and no adapter. `maquette generate` takes both.")
    tensors, metadata = read_tensors(file)
    config = peft_config(file, metadata, layout)
    embeddings = sorted(key for key in tensors if key.startswith(EMBEDDING))
    grouped = group({key: value for key, value in tensors.items() if key not in embeddings}, layout, metadata, file)
    delta = {place: assemble(place, parts, config.get(place.module), file) for place, parts in grouped.items()}
    check_shapes(delta, layout, metadata, file)
    check_whole(delta, layout, metadata, config, file)
    if embeddings:
        logger.warning("%s also holds embeddings, which are not used: %s.", file.name, ", ".join(embeddings))
    return AdapterFile(delta, metadata)


def locate(path: Path) -> Path:
    """The adapter file that a path means: itself, the only one of a folder, or kohya's where both dialects are."""
    if not path.is_dir():
        return path
    files = [file for file in tensor_files(path) if not is_embedding(file)]
    files = files or [*sorted(path.glob(f"[!.]*{SUFFIX}")), *(path / name for name in OLD if (path / name).is_file())]
    exact = [file for file in files if file.name != "pytorch_lora_weights.safetensors"]
    for choice in (files, exact):
        if len(choice) == 1:
            return choice[0]
    found = f"it holds {', '.join(file.name for file in files)}; name one of them" if files else "it holds none"
    if not files and (own := [str(folder) for folder in concept_folders(path)]):
        found = f"each concept of this bank has a folder of its own; name one of them: {', '.join(own)}"
    kinds = ", ".join((".safetensors", SUFFIX, *OLD))
    raise CheckpointError(f"{path}: expected one adapter file ({kinds}) in this folder, but {found}.")


def concept_folders(path: Path) -> list[Path]:
    """The folders of a bank's concepts in the export of a run."""
    folders = {file.parent for file in path.glob("export/*/[!.]*.safetensors")}
    return sorted(folder for folder in folders if folder.name not in (STEPS, RAW))


def tensor_files(folder: Path) -> list[Path]:
    """The .safetensors files of a folder, and of the export of a run."""
    return sorted(file for place in (folder, folder / "export") for file in place.glob("[!.]*.safetensors"))


def parts_of(path: Path) -> tuple[Path | None, Path | None]:
    """The adapter and the file of new tokens that a file or a folder means; one of them may be missing.

    Raises CheckpointError for a folder with several of either, or with neither.
    """
    if not path.is_dir():
        return (None, path) if is_embedding(path) else (path, None)
    embeddings = [file for file in tensor_files(path) if is_embedding(file)]
    if len(embeddings) > 1:
        listed = ", ".join(file.name for file in embeddings)
        raise CheckpointError(f"{path}: holds several files of new tokens ({listed}); name one of them.")
    if embeddings and len(tensor_files(path)) == 1:
        return None, embeddings[0]
    return locate(path), embeddings[0] if embeddings else None


def peft_config(file: Path, metadata: Mapping[str, str], layout: Layout) -> dict[str, Mapping[str, object]]:
    """peft's settings for each module of the family, from diffusers' metadata or a peft folder's configuration."""
    sidecar = file.with_name("adapter_config.json")
    if file.stem == "adapter_model" and sidecar.exists():
        config = parsed(sidecar.read_text(encoding="utf-8"), sidecar)
        return dict.fromkeys(("denoiser", "text_encoder"), config)
    packed = parsed(metadata.get("lora_adapter_metadata", "{}"), file)
    modules = {component: module for module, component in layout.component.items()}
    configs: dict[str, dict[str, object]] = {}
    for key, value in packed.items():
        component, _, name = key.partition(".")
        configs.setdefault(modules.get(component, component), {})[name] = value
    return {module: config for module, config in configs.items() if "r" in config}


def parsed(text: str, file: Path) -> dict[str, object]:
    """A JSON object. Raises CheckpointError for anything else."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as problem:
        raise CheckpointError(f"{file}: the adapter's settings are not valid JSON ({problem}).") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{file}: the adapter's settings are {type(value).__name__}, not a JSON object.")
    return value


def group(
    tensors: Mapping[str, Tensor], layout: Layout, metadata: Mapping[str, str], file: Path
) -> dict[Place, dict[str, Tensor]]:
    """The tensors by layer and role. Raises CheckpointError, naming them, where any is left over."""
    ends = sorted(PARTS, key=len, reverse=True)
    grouped: dict[Place, dict[str, Tensor]] = {}
    strange = []
    for key, tensor in tensors.items():
        end = next((end for end in ends if key.endswith(end)), "")
        place = layout.aliases.get(key.removesuffix(end).removeprefix("base_model.model."))
        if end and place is not None:
            grouped.setdefault(place, {})[PARTS[end]] = tensor
        else:
            strange.append(key)
    if strange:
        raise CheckpointError(
            f"{file}: {len(strange)} of {len(tensors)} tensors fit no layer of the base: {some(sorted(strange))}. "
            f"{origin(metadata, layout)}A partly used adapter would give wrong pictures, so none of it is used."
        )
    if not grouped:
        raise CheckpointError(f"{file}: the file holds no adapter. Give a file with LoRA, LoHa or LoKr weights.")
    return grouped


def assemble(place: Place, parts: Mapping[str, Tensor], config: Mapping[str, object] | None, file: Path) -> Update:
    """One layer's update from its tensors. Raises CheckpointError where some are missing or contradict each other."""
    factors = factors_of(parts)
    if factors is None:
        raise CheckpointError(
            f"{file}: {place.path} has {', '.join(sorted(parts))}, which is not a whole update. The file is damaged, "
            "or of a kind that is not supported: LoRA, DoRA, LoHa, LoKr and plain differences are."
        )
    scaled = rescale(factors, scale_of(place.path, factors, parts.get("alpha"), config))
    if "magnitude" in parts:
        return Update(scaled, parts["magnitude"].flatten(), "out")
    if "dora_scale" in parts:
        stored = parts["dora_scale"]
        axis: Literal["out", "in"] = "in" if stored.ndim > 1 and stored.shape[0] == 1 != stored.shape[1] else "out"
        return Update(scaled, stored.flatten(), axis)
    return Update(scaled)


def factors_of(parts: Mapping[str, Tensor]) -> Factors | None:
    """The factors that the tensors of one layer make up, at scale 1; None where they make up none."""
    roles = parts.keys() - {"alpha", "dora_scale", "magnitude"}
    named = {role.partition("_")[2]: parts[role] for role in roles}
    if roles == {"up", "down"}:
        return LowRank(parts["up"], parts["down"], 1.0)
    if roles == {"up", "mid", "down"}:  # a core between the two: multiplied into the down matrix, which is the same
        down = torch.einsum("ji,ojkl->oikl", parts["down"].flatten(1).double(), parts["mid"].double())
        return LowRank(parts["up"], down, 1.0)
    if roles == {"diff"}:
        return Dense(parts["diff"])
    if all(role.startswith("hada_") for role in roles):
        whole = {"w1_a", "w1_b", "w2_a", "w2_b"} <= named.keys() and ("t1" in named) == ("t2" in named)
        return Loha(scale=1.0, **named) if whole else None
    if all(role.startswith("lokr_") for role in roles):
        sides = [
            ("w1" in named) != ({"w1_a", "w1_b"} <= named.keys()),
            ("w2" in named) != ({"w2_a", "w2_b"} <= named.keys()),
        ]
        return Lokr(scale=1.0, **named) if all(sides) else None
    return None


def rescale(factors: Factors, scale: float) -> Factors:
    """The same factors at a scale; factors without a rank keep 1, since their files state no usable alpha."""
    match factors:
        case LowRank(up, down):
            return LowRank(up, down, scale)
        case Loha(w1_a, w1_b, w2_a, w2_b, _, t1, t2):
            return Loha(w1_a, w1_b, w2_a, w2_b, scale, t1, t2)
        case Lokr(_, w1, w1_a, w1_b, w2, w2_a, w2_b, t2):
            return Lokr(scale, w1, w1_a, w1_b, w2, w2_a, w2_b, t2)
        case Dense():
            return factors


def scale_of(path: str, factors: Factors, alpha: Tensor | None, config: Mapping[str, object] | None) -> float:
    """alpha / rank where the file states an alpha, peft's rule where it has peft's settings, else 1."""
    r = rank(factors)
    if r is None:
        return 1.0
    if alpha is not None:
        return float(alpha) / r
    if config is None:
        return 1.0
    stated = by_pattern(config.get("alpha_pattern"), path, config.get("lora_alpha", config.get("alpha", r)))
    return stated / (math.sqrt(r) if config.get("use_rslora") else r)


def by_pattern(patterns: object, path: str, otherwise: object) -> float:
    """peft's per-layer setting: of the first pattern that matches an end of the path."""
    assert isinstance(otherwise, int | float)
    if isinstance(patterns, Mapping):
        for pattern, value in patterns.items():
            if re.match(rf"(.*\.)?({pattern})$", path):
                return float(value)
    return float(otherwise)
