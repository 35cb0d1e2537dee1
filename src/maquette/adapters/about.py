"""What an adapter file says of itself, in the metadata that user interfaces and model sites read."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from safetensors.torch import save
from torch import Tensor

from maquette.adapters.delta import Delta, Loha, Lokr, LowRank, rank
from maquette.adapters.keys import Dialect, Layout
from maquette.report.privacy import without_paths

ARCHITECTURES = {
    "sd_v1": "stable-diffusion-v1",
    "sd_v2": "stable-diffusion-v2-512",
    "sd_v2_v": "stable-diffusion-v2-768-v",
    "sdxl_base_v1-0": "stable-diffusion-xl-v1-base",
    "kandinsky22_decoder": "kandinsky-2-2-decoder",
    "kandinsky22_prior": "kandinsky-2-2-prior",
}
"""ModelSpec's names of the bases, and names in its manner of those that it does not have. Source: ModelSpec 1.0.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is told of an adapter beside its weights. Whatever is None is not written.

    size: (height, width) of training, in pixels. date: ISO 8601. training: facts under kohya's names without their
    "ss_" ("seed", "learning_rate", "steps", "num_train_images"). Paths are cut to their last part wherever they occur.
    """

    title: str
    trigger: str | None = None
    size: tuple[int, int] | None = None
    prediction: Literal["epsilon", "v"] | None = None
    date: str | None = None
    author: str | None = None
    license: str | None = None
    description: str | None = None
    training: Mapping[str, str | int | float] = field(default_factory=dict)


def metadata_of(about: About, delta: Delta, layout: Layout, dialect: Dialect) -> dict[str, str]:
    """All metadata but the hashes and what diffusers' own loader reads."""
    version = layout.version + ("_v" if layout.version == "sd_v2" and about.prediction == "v" else "")
    ldm_names = dialect == "kohya" and version.startswith("sdxl")
    size = about.size
    spec = {
        "sai_model_spec": "1.0.1",
        "architecture": f"{ARCHITECTURES[version]}/lora",
        "implementation": "https://github.com/Stability-AI/generative-models" if ldm_names else "diffusers",
        "title": about.title,
        "resolution": None if size is None else f"{size[1]}x{size[0]}",
        "date": about.date,
        "author": about.author,
        "license": about.license,
        "description": about.description,
        "trigger_phrase": about.trigger,
        "prediction_type": about.prediction,
    }
    kohya = {
        "v2": str(layout.version == "sd_v2"),
        "base_model_version": version,
        "output_name": about.title,
        **network_of(delta),
        **{key: str(value) for key, value in about.training.items()},
    }
    ours = {"maquette.dialect": dialect, "maquette.layers": str(len(delta))}
    named = {f"modelspec.{key}": value for key, value in spec.items() if value is not None}
    return {key: without_paths(v) for key, v in (named | {f"ss_{key}": v for key, v in kohya.items()} | ours).items()}


def network_of(delta: Delta) -> dict[str, str]:
    """kohya's description of the adapter itself: its kind, and the rank and alpha that most layers have."""
    kinds = {type(update.factors) for update in delta.values()}
    algorithm = {LowRank: "locon", Loha: "loha", Lokr: "lokr"}.get(kinds.pop(), "full") if len(kinds) == 1 else "full"
    has_magnitude = any(update.magnitude is not None for update in delta.values())
    plain = algorithm == "locon" and not has_magnitude
    arguments = {} if plain else {"algo": algorithm} | ({"dora_wd": "True"} if has_magnitude else {})
    ranks = Counter(r for update in delta.values() if (r := rank(update.factors)) is not None)
    alphas = Counter(update.factors.scale * r for update in delta.values() if (r := rank(update.factors)) is not None)
    common = {"network_dim": ranks, "network_alpha": alphas}
    return {
        "network_module": "networks.lora" if plain else "lycoris.kohya",
        "network_args": json.dumps(arguments),
        **{key: f"{counts.most_common(1)[0][0]:g}" for key, counts in common.items() if counts},
    }


def hashes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """kohya's two hashes of a file, and ModelSpec's, over the bytes behind the header.

    They are of a copy that keeps kohya's metadata alone, because the legacy hash starts at a fixed offset and so
    depends on the header's length. Source: the sites and interfaces that look adapters up by these.
    """
    known = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, known)
    body = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    legacy = hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]
    return {"sshs_model_hash": body, "sshs_legacy_hash": legacy, "modelspec.hash_sha256": f"0x{body}"}
