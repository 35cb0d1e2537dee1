"""The trained base as an ordinary diffusers folder: fp16 safetensors, and a card of how it came about."""

import json
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import safe_open

from maquette.embedded import pretrain
from maquette.families.sd import StableDiffusion

LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow")


def publish(work: Path, out: Path, commit: str) -> StableDiffusion:
    """Write the base of a work folder to ``out``, replacing what was there; return it as it was written, in fp16.

    commit: of the code that trained it, for the card.
    """
    family = pretrain.assemble(work)
    temporary = out.with_name(out.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    for module in family.modules.values():
        module.to(torch.float16)
    family.pipeline().save_pretrained(temporary, safe_serialization=True)
    (temporary / "training.json").write_text(json.dumps(record(work, commit), indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)
    return family


def record(work: Path, commit: str) -> dict[str, object]:
    """What anyone needs to train the same base again: sizes, seeds, steps done, versions."""
    parts = pretrain.SIZES
    return {
        "commit": commit,
        "pictures": pretrain.PICTURES,
        "parts": {name: asdict(part) | _done(work / f"{name}.safetensors") for name, part in parts.items()},
        "versions": {name: version(name) for name in LIBRARIES},
    }


def _done(file: Path) -> dict[str, object]:
    if not file.exists():
        return {"steps_done": 0, "hours": 0.0}
    with safe_open(file, "pt") as saved:
        metadata = saved.metadata()
    return {"steps_done": int(metadata["step"]), "hours": round(float(metadata["seconds"]) / 3600, 2)}
