"""The models that pretraining makes, each with its parts, and each as diffusers folders in fp16 with a record."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import safe_open

from maquette.embedded import kandinsky, playground, pretrain
from maquette.embedded.judge_training import pretrain_judge
from maquette.embedded.pretrain import Part, Tick
from maquette.embedded.sittings import RECORD, Record, earlier_record, published_record
from maquette.errors import ConfigError
from maquette.families.base import Family
from maquette.families.folder import save_folder
from maquette.training.versions import commit

LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow")


@dataclass(frozen=True, slots=True)
class Model:
    """How one model is made, and what is published of it; every function takes the work folder.

    parts: in an order in which each finds what it needs.
    sizes: those of the parts that are trained, for the record.
    assemble: from the parts' files, what is published: a family for each folder, "." where there is only one.
    files: where in the work folder the parts keep what they make, but for the pictures, which all models share.
    start: the embedded model whose weights it always starts from; None where a sitting may choose (``sittings``).
    """

    parts: Mapping[str, Callable[[Path], Iterator[Tick]]]
    sizes: Mapping[str, Part]
    assemble: Callable[[Path], Mapping[str, Family]]
    files: str = "."
    start: str | None = None


MODELS: Mapping[str, Model] = {
    "maquette-64": Model(
        parts={
            **pretrain.PARTS,
            "judge": lambda work: pretrain_judge(work, work / "judge", "judge"),
            "verifier": lambda work: pretrain_judge(work, work / "verifier", "verifier"),
        },
        sizes=pretrain.SIZES,
        assemble=lambda work: {".": pretrain.assemble(work)},
    ),
    "playground-64": Model(
        parts=playground.PARTS,
        sizes=playground.SIZES,
        assemble=lambda work: {".": playground.assemble(work)},
        files=playground.FILES,
        start=playground.START,
    ),
    "kandinsky-64": Model(
        parts=kandinsky.PARTS,
        sizes=kandinsky.SIZES,
        assemble=kandinsky.assemble,
        files=kandinsky.FILES,
        start=kandinsky.START,
    ),
}
"""By the name that ``maquette world pretrain --model`` takes."""


def publish(name: str, work: Path, out: Path) -> None:
    """Write a model from its work folder to ``out``, which must not exist, in fp16.

    Raises ConfigError where ``out`` exists, CheckpointError where a part has made nothing yet.
    """
    if out.exists():
        raise ConfigError(f"--publish {out}: exists already; name a folder that does not.")
    model = MODELS[name]
    temporary = out.with_name(out.name + ".partial")
    for folder, family in model.assemble(work).items():
        for module in family.modules.values():
            module.to(dtype=torch.float16)
            for param in module.parameters():  # files hold rows, whatever order training had in memory
                param.data = param.data.contiguous()
        save_folder(family, temporary / folder)
    (temporary / RECORD).write_text(json.dumps(record(name, work), indent=2) + "\n", encoding="utf-8")
    temporary.rename(out)


def record(name: str, work: Path) -> Record:
    """What anyone needs to train the same model again: its start, sizes, seeds, steps done, versions."""
    model = MODELS[name]
    files = work / model.files
    return {
        "model": name,
        "commit": commit(),
        "pictures": pretrain.PICTURES,
        "parts": {part: asdict(size) | _done(files / f"{part}.safetensors") for part, size in model.sizes.items()},
        "versions": {library: version(library) for library in LIBRARIES},
        "before": earlier_record(work) if model.start is None else published_record(model.start),
    }


def _done(file: Path) -> dict[str, object]:
    if not file.exists():
        return {"steps_done": 0, "hours": 0.0}
    with safe_open(file, "pt") as saved:
        metadata = saved.metadata()
    return {"steps_done": int(metadata["step"]), "hours": round(float(metadata["seconds"]) / 3600, 2)}
