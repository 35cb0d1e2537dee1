"""All parts of pretraining, and the trained base as a diffusers folder in fp16, with a record of its making."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import safe_open

from maquette.embedded import pretrain
from maquette.embedded.judge_training import pretrain_judge
from maquette.embedded.pretrain import Tick
from maquette.embedded.sittings import RECORD, earlier_record
from maquette.errors import ConfigError
from maquette.families.folder import save_folder
from maquette.families.sd import StableDiffusion
from maquette.training.versions import commit

PARTS: Mapping[str, Callable[[Path], Iterator[Tick]]] = {
    **pretrain.PARTS,
    "judge": lambda work: pretrain_judge(work, work / "judge", "judge"),
    "verifier": lambda work: pretrain_judge(work, work / "verifier", "verifier"),
}
"""Every part, in an order in which each finds what it needs."""

LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow")


def publish(work: Path, out: Path) -> StableDiffusion:
    """Write the base of a work folder to ``out``, which must not exist; return it as it was written, in fp16."""
    if out.exists():
        raise ConfigError(f"--publish {out}: exists already; name a folder that does not.")
    family = pretrain.assemble(work)
    temporary = out.with_name(out.name + ".partial")
    for module in family.modules.values():
        module.to(dtype=torch.float16)
        for param in module.parameters():  # files hold rows, whatever order training had in memory
            param.data = param.data.contiguous()
    save_folder(family, temporary)
    (temporary / RECORD).write_text(json.dumps(record(work), indent=2) + "\n", encoding="utf-8")
    temporary.rename(out)
    return family


def record(work: Path) -> dict[str, object]:
    """What anyone needs to train the same base again: sizes, seeds, steps done, versions."""
    parts = pretrain.SIZES
    return {
        "commit": commit(),
        "pictures": pretrain.PICTURES,
        "parts": {name: asdict(part) | _done(work / f"{name}.safetensors") for name, part in parts.items()},
        "versions": {name: version(name) for name in LIBRARIES},
        "before": earlier_record(work),
    }


def _done(file: Path) -> dict[str, object]:
    if not file.exists():
        return {"steps_done": 0, "hours": 0.0}
    with safe_open(file, "pt") as saved:
        metadata = saved.metadata()
    return {"steps_done": int(metadata["step"]), "hours": round(float(metadata["seconds"]) / 3600, 2)}
