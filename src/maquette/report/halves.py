"""How to load what a run made of one half of Kandinsky 2.2, whose pictures need the other half too."""

from collections.abc import Iterator
from typing import Literal

from maquette.config.words import written_out
from maquette.report.usage import Subject, Usage, quoted, taken, usages, word

Half = Literal["prior", "decoder"]

PUBLISHED = {
    "prior": "kandinsky-community/kandinsky-2-2-prior",
    "decoder": "kandinsky-community/kandinsky-2-2-decoder",
}
"""The published halves."""


def how_to_use(subject: Subject) -> list[Usage]:
    """How to load the result of a run, whether it trained a whole model or a half; empty when nothing is exported."""
    half = half_of(subject)
    return usages(subject) if half is None else list(half_usages(subject, half))


def half_of(subject: Subject) -> Half | None:
    """Which half of a model a run trained; None where it trained a whole one."""
    halves: dict[str, Half] = {
        "kandinsky22_prior": "prior",
        "kandinsky22_decoder": "decoder",
        "KandinskyV22PriorPipeline": "prior",
        "KandinskyV22Pipeline": "decoder",
    }
    return next((halves[export.of] for export in subject.exports if export.of in halves), None)


def half_usages(subject: Subject, half: Half) -> Iterator[Usage]:
    """How to make pictures with a trained half and the published other one, in maquette and in diffusers."""
    folder, adapter, rows = (subject.first(kind) for kind in ("folder", "diffusers", "embedding"))
    names = PUBLISHED | {half: f"{subject.run}/{folder.name}" if folder else subject.base.name}
    command = (
        f"maquette generate {word(subject.example)} --base {word(names['decoder'])} --prior {word(names['prior'])}"
    )
    other = "decoder" if half == "prior" else "prior"
    together = f"The {other} is the published one; name your own where it was trained too."
    if folder:
        yield Usage("maquette", folder.name, together, command, "sh")
        yield Usage("diffusers", folder.name, together, "\n".join(_code(subject, names, [])), "python")
        return
    words = f" {' and '.join(subject.tokens)} in the prompt calls the new tokens." if rows else ""
    text = f"{taken(subject)}{words} {together} A second --adapter is that of the other half."
    yield Usage("maquette", "", text, f"{command} --adapter {word(subject.adapter)}", "sh")
    if subject.has_text or rows:
        kept, worn, fused = (word(name) for name in (names["prior"], subject.adapter, f"{subject.run}-fused"))
        learned = "new tokens of a prior" if rows else "what a prior's text encoder learned"
        text = f"diffusers does not load {learned}, so fuse it all into a copy of the prior. {together}"
        first = f"# First, in a shell: maquette fuse --base {kept} --adapter {worn} --out {fused}"
        code = _code(subject, names | {"prior": f"{subject.run}-fused"}, [])
        yield Usage("diffusers", "", text, "\n".join([first, *code]), "python")
    elif adapter:
        module, prefix = ("prior.prior", "prior") if half == "prior" else ("decoder.unet", "unet")
        place = "/".join(part for part in (subject.run, adapter.folder) if part)
        settings = f'prefix="{prefix}", weight_name={quoted(adapter.file_name)}, use_safetensors=True'
        loading = [f"{module}.load_lora_adapter({quoted(place)}, {settings})"]
        yield Usage("diffusers", adapter.name, together, "\n".join(_code(subject, names, loading)), "python")


def _code(subject: Subject, names: dict[str, str], loading: list[str]) -> list[str]:
    """Python that makes one picture with both halves; no user interface has a form of its own for them."""
    half = "torch_dtype=torch.float16"
    return [
        "import torch",
        "from diffusers import KandinskyV22Pipeline, KandinskyV22PriorPipeline",
        "",
        f"prior = KandinskyV22PriorPipeline.from_pretrained({quoted(names['prior'])}, {half})",
        f"decoder = KandinskyV22Pipeline.from_pretrained({quoted(names['decoder'])}, {half})",
        *loading,
        'prior.to("cuda")',
        'decoder.to("cuda")',
        f"embeds, negative = prior({quoted(written_out(subject.example, subject.tokens))}, return_dict=False)",
        "picture = decoder(image_embeds=embeds, negative_image_embeds=negative).images[0]",
    ]
