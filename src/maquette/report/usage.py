"""How to load what a run made, tool by tool: the one text that the report and the model card share."""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from maquette.report.base import Base
from maquette.report.exports import Export


@dataclass(frozen=True, slots=True)
class Usage:
    """Instructions for one tool: the file they are about, sentences, and something to copy.

    file: relative to the run's folder; "" where there is none for this tool. language: "sh", "python" or "".
    """

    tool: str
    file: str
    text: str
    code: str = ""
    language: Literal["sh", "python", ""] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the instructions are about.

    run: name of the run's folder. example: a prompt that shows what was learned. has_text: whether the adapter also
    changes the text encoders.
    """

    run: str
    base: Base
    example: str
    exports: Sequence[Export]
    has_text: bool

    def first(self, kind: str) -> Export | None:
        """The main export of a kind: the one with the shortest name."""
        return next((export for export in self.exports if export.kind == kind), None)


def usages(subject: Subject) -> list[Usage]:
    """How to load the result in maquette, diffusers, ComfyUI and AUTOMATIC1111; empty when nothing is exported yet."""
    if not subject.exports:
        return []
    if subject.first("folder") or subject.first("checkpoint"):
        return list(_whole_model(subject))
    return list(_adapter(subject))


def notes(subject: Subject) -> list[str]:
    """What has to be known about the files before choosing one."""
    kohya, diffusers = subject.first("kohya"), subject.first("diffusers")
    said = []
    if kohya and kohya.is_dora and diffusers:
        said.append(
            f"This is a DoRA. diffusers leaves the magnitudes of {kohya.file_name} out, with no more than a line in "
            f"its log: use {diffusers.file_name} there. {kohya.file_name} is for ComfyUI and AUTOMATIC1111."
        )
        said.append(
            "ComfyUI normalises a DoRA by the base's weights instead of the changed ones, so its pictures differ a "
            "little; fuse the adapter into the base where they must not."
        )
    if kohya and kohya.algorithm != "lora":
        said.append(
            f"{kohya.file_name} is a {kohya.algorithm} file in LyCORIS' names, which diffusers cannot read; fuse it "
            "into the base to use it there."
        )
    if subject.base.kind == "embedded":
        said.append(
            f"The base, {subject.base.name}, is the small one that comes with maquette. ComfyUI and AUTOMATIC1111 "
            "cannot open it, and an adapter fits only the base it was trained on: their lines hold for other runs."
        )
    return said


def _adapter(subject: Subject) -> Iterator[Usage]:
    kohya, diffusers, local = subject.first("kohya"), subject.first("diffusers"), subject.base.kind == "local"
    command = f"maquette generate {_word(subject.example)} --adapter {_word(subject.run)}"
    text = "Takes the run's folder, or a file. --scale 0.8 weakens the adapter, 1 is as it was trained."
    yield Usage("maquette", "", text, command, "sh")
    if diffusers:
        folder = "/".join(part for part in (subject.run, diffusers.folder) if part)
        load = f"pipeline.load_lora_weights({_quoted(folder)}, weight_name={_quoted(diffusers.file_name)})"
        code = _pipeline_code(subject, _base_expression(subject.base), [load])
        hint = "The model is the path of the base that was trained on." if local else ""
        yield Usage("diffusers", diffusers.name, hint, code, "python")
    if kohya:
        strengths = "strength_model and strength_clip" if subject.has_text else "strength_model"
        clip = "" if subject.has_text else " It changes the denoiser alone, so strength_clip does nothing."
        comfy = (
            f"Put {kohya.file_name} into models/loras. Add a Load LoRA node after Load Checkpoint, choose the file, "
            f"and set {strengths} to 1.{clip}"
        )
        yield Usage("ComfyUI", kohya.name, comfy)
        stem = kohya.file_name.removesuffix(".safetensors")
        forge = f"Put {kohya.file_name} into models/Lora and write the tag into the prompt."
        yield Usage("AUTOMATIC1111, Forge", kohya.name, forge, f"{subject.example} <lora:{stem}:1>")


def _whole_model(subject: Subject) -> Iterator[Usage]:
    folder, checkpoint = subject.first("folder"), subject.first("checkpoint")
    whole = folder or checkpoint
    assert whole is not None
    path = f"{subject.run}/{whole.name}"
    command = f"maquette generate {_word(subject.example)} --base {_word(path)}"
    yield Usage("maquette", whole.name, "The whole model, to be used like any other base.", command, "sh")
    if folder:
        yield Usage(
            "diffusers", folder.name, "", _pipeline_code(subject, _quoted(f"{subject.run}/{folder.name}")), "python"
        )
    missing = "They need one file: train with output.single_file = true to have it written as well."
    text = f"Put {checkpoint.file_name} among the checkpoints." if checkpoint else missing
    yield Usage("ComfyUI, AUTOMATIC1111, Forge", checkpoint.name if checkpoint else "", text)


def _pipeline_code(subject: Subject, model: str, loading: Sequence[str] = ()) -> str:
    """Python that builds a pipeline from ``model``, an expression, and makes one picture.

    The embedded base is small enough for any processor; every other one is put on a GPU in half precision.
    """
    is_small = subject.base.kind == "embedded"
    half, place = ("", []) if is_small else (", torch_dtype=torch.float16", ['pipeline.to("cuda")'])
    lines = [
        *([] if is_small else ["import torch"]),
        "from diffusers import AutoPipelineForText2Image",
        *(["from maquette.families.load import EMBEDDED"] if model.startswith("EMBEDDED") else []),
        "",
        f"model = {model}",
        f"pipeline = AutoPipelineForText2Image.from_pretrained(model{half})",
        *loading,
        *place,
        f"picture = pipeline({_quoted(subject.example)}).images[0]",
    ]
    return "\n".join(lines)


def _base_expression(base: Base) -> str:
    """The base in Python; a local one by its bare name, since its path is nobody's business."""
    return f"EMBEDDED[{_quoted(base.name)}]" if base.kind == "embedded" else _quoted(base.name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _word(text: str) -> str:
    """A text as one word of a shell: in the double quotes that people and all shells know, where these are enough."""
    if re.fullmatch(r"[\w./-]+", text):
        return text
    return shlex.quote(text) if re.search(r"[\\\"$`!%]", text) else f'"{text}"'
