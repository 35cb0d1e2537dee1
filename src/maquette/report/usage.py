"""How to load what a run made, tool by tool: the one text that the report and the model card share."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from maquette.config.words import written_out
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
    changes the text encoders. tokens: placeholders in the example, and the new tokens that each stands for. concept: of
    a bank, the folder of the concept that the example calls and all exports are of; others: those of the other ones.
    Both are relative to the run's folder.
    """

    run: str
    base: Base
    example: str
    exports: Sequence[Export]
    has_text: bool
    tokens: Mapping[str, Sequence[str]] = field(default_factory=dict)
    concept: str = ""
    others: Sequence[str] = ()

    @property
    def adapter(self) -> str:
        """What ``--adapter`` takes: the run's folder, or that of the concept."""
        return f"{self.run}/{self.concept}" if self.concept else self.run

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
    kohya, diffusers, rows = subject.first("kohya"), subject.first("diffusers"), subject.first("embedding")
    command = f"maquette generate {word(subject.example)} --adapter {word(subject.adapter)}"
    scale = "--scale 0.8 weakens the adapter, 1 is as it was trained." if kohya else ""
    words = f"{' and '.join(subject.tokens)} in the prompt calls the new tokens." if rows else ""
    yield Usage("maquette", "", " ".join(filter(None, (taken(subject), scale, words))), command, "sh")
    if diffusers or rows:
        file = diffusers or rows
        assert file is not None
        yield Usage("diffusers", file.name, _diffusers_text(subject, rows), _diffusers_code(subject), "python")
    if kohya or rows:
        file = kohya or rows
        assert file is not None
        yield Usage("ComfyUI", file.name, " ".join([*_comfy_adapter(subject, kohya), *_comfy_tokens(subject, rows)]))
        forge = [f"Put {kohya.file_name} into models/Lora and write the tag into the prompt."] if kohya else []
        if rows:
            files = " and ".join(f"{_beside(rows)}/{name}.safetensors" for name in subject.tokens)
            forge.append(f"Put {files} into embeddings; the prompt calls each by its file's name.")
        tag = f" <lora:{kohya.file_name.removesuffix('.safetensors')}:1>" if kohya else ""
        yield Usage("AUTOMATIC1111, Forge", file.name, " ".join(forge), f"{subject.example}{tag}")


def taken(subject: Subject) -> str:
    """What ``--adapter`` can be given."""
    if not subject.concept:
        return "Takes the run's folder, or a file."
    others = f" Those of the others are {' and '.join(subject.others)}." if subject.others else ""
    return f"Takes the folder of a concept, or a file.{others}"


def _comfy_adapter(subject: Subject, kohya: Export | None) -> Iterator[str]:
    if kohya:
        strengths = "strength_model and strength_clip" if subject.has_text else "strength_model"
        clip = "" if subject.has_text else " It changes the denoiser alone, so strength_clip does nothing."
        yield (
            f"Put {kohya.file_name} into models/loras. Add a Load LoRA node after Load Checkpoint, choose the file, "
            f"and set {strengths} to 1.{clip}"
        )


def _comfy_tokens(subject: Subject, rows: Export | None) -> Iterator[str]:
    if rows:
        files = " and ".join(f"{_beside(rows)}/{name}.safetensors" for name in subject.tokens)
        prompt = written_out(subject.example, {name: [f"embedding:{name}"] for name in subject.tokens})
        yield f"Put {files} into models/embeddings, and write the prompt as: {prompt}"


def _beside(rows: Export) -> str:
    """The folder with one file for each placeholder."""
    return "/".join(part for part in (rows.folder, "embeddings") if part)


def _diffusers_text(subject: Subject, rows: Export | None) -> str:
    hints = ["The model is the path of the base that was trained on."] if subject.base.kind == "local" else []
    if rows and "clip_g" in rows.tensors:
        hints.append(
            "The second text encoder is loaded with its true end token: the published one names another, at which a "
            "prompt with new tokens would be summed up in the wrong place."
        )
    return " ".join(hints)


def _diffusers_code(subject: Subject) -> str:
    """Python that loads what there is: the adapter, new tokens, or both."""
    diffusers, rows = subject.first("diffusers"), subject.first("embedding")
    loading, second = [], False
    if diffusers:
        folder = "/".join(part for part in (subject.run, diffusers.folder) if part)
        place = f"{quoted(subject.run)}, subfolder={quoted(subject.concept)}" if subject.concept else quoted(folder)
        loading.append(f"pipeline.load_lora_weights({place}, weight_name={quoted(diffusers.file_name)})")
    if rows:
        second = "clip_g" in rows.tensors
        names = json.dumps([token for tokens in subject.tokens.values() for token in tokens])
        loading.append(f"rows = load_file({quoted(f'{subject.run}/{rows.name}')})")
        for tensor in rows.tensors[::-1]:  # clip_l comes before clip_g
            end = "_2" if tensor == "clip_g" else ""
            parts = f"text_encoder=pipeline.text_encoder{end}, tokenizer=pipeline.tokenizer{end}"
            loading.append(f"pipeline.load_textual_inversion(rows[{quoted(tensor)}], token={names}, {parts})")
    end_token = rows.end_token if rows and second else None
    return _pipeline_code(subject, _base_expression(subject.base), loading, end_token)


def _whole_model(subject: Subject) -> Iterator[Usage]:
    folder, checkpoint = subject.first("folder"), subject.first("checkpoint")
    whole = folder or checkpoint
    assert whole is not None
    path = f"{subject.run}/{whole.name}"
    command = f"maquette generate {word(subject.example)} --base {word(path)}"
    yield Usage("maquette", whole.name, "The whole model, to be used like any other base.", command, "sh")
    if folder:
        yield Usage(
            "diffusers", folder.name, "", _pipeline_code(subject, quoted(f"{subject.run}/{folder.name}")), "python"
        )
    missing = "They need one file: train with output.single_file = true to have it written as well."
    text = f"Put {checkpoint.file_name} among the checkpoints." if checkpoint else missing
    yield Usage("ComfyUI, AUTOMATIC1111, Forge", checkpoint.name if checkpoint else "", text)


def _pipeline_code(subject: Subject, model: str, loading: Sequence[str] = (), end_token: int | None = None) -> str:
    """Python that builds a pipeline from ``model``, an expression, and makes one picture.

    The embedded base is small enough for any processor; every other one is put on a GPU in half precision. end_token:
    where the second text encoder is to be loaded apart, pooling at this token.
    """
    is_small = subject.base.kind == "embedded"
    half, place = ("", []) if is_small else (", torch_dtype=torch.float16", ['pipeline.to("cuda")'])
    apart, second = [], ""
    if end_token is not None:
        kind = f'"text_encoder_2", eos_token_id={end_token}{half}'
        apart, second = (
            [f"second = CLIPTextModelWithProjection.from_pretrained(model, subfolder={kind})"],
            ", text_encoder_2=second",
        )
    guidance = "" if subject.base.guidance is None else f", guidance_scale={subject.base.guidance}"
    lines = [
        *([] if is_small else ["import torch"]),
        "from diffusers import AutoPipelineForText2Image",
        *(["from maquette.families.load import EMBEDDED"] if model.startswith("EMBEDDED") else []),
        *(["from safetensors.torch import load_file"] if any("load_file" in line for line in loading) else []),
        *(["from transformers import CLIPTextModelWithProjection"] if end_token is not None else []),
        "",
        f"model = {model}",
        *apart,
        f"pipeline = AutoPipelineForText2Image.from_pretrained(model{half}{second})",
        *loading,
        *place,
        f"picture = pipeline({quoted(written_out(subject.example, subject.tokens))}{guidance}).images[0]",
    ]
    return "\n".join(lines)


def _base_expression(base: Base) -> str:
    """The base in Python; a local one by its bare name, since its path is nobody's business."""
    return f"EMBEDDED[{quoted(base.name)}]" if base.kind == "embedded" else quoted(base.name)


def quoted(text: str) -> str:
    """A text as Python writes it."""
    return json.dumps(text, ensure_ascii=False)


def word(text: str) -> str:
    """A text as one word of a shell: in the double quotes that people and all shells know, where these are enough."""
    if re.fullmatch(r"[\w./-]+", text):
        return text
    return shlex.quote(text) if re.search(r"[\\\"$`!%]", text) else f'"{text}"'
