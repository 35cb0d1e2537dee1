"""A run -> README.md: the model card, with the front matter and the gallery that the Hugging Face hub reads."""

import yaml

from maquette.config.adapter import LowRankConfig
from maquette.report.base import OTHER_LICENSES
from maquette.report.choice import choice_of
from maquette.report.facts import Facts, Preview
from maquette.report.halves import how_to_use
from maquette.report.html import key_numbers
from maquette.report.pictures import FOLDER
from maquette.report.read import read_facts
from maquette.report.settings import changed, settings_of
from maquette.report.usage import notes
from maquette.report.words import count_of, what_it_is
from maquette.runs.files import write_text
from maquette.runs.names import DRIFT
from maquette.runs.rundir import RunDir

GALLERY = 8
"""So many of the last previews the card shows, and so many training pictures."""


def write_card(run: RunDir) -> None:
    """Write, or write again, the model card of a run.

    Raises ConfigError or DataError where its settings or its log are damaged.
    """
    write_text(run.card, render_card(read_facts(run), run))


def render_card(facts: Facts, run: RunDir) -> str:
    """The model card of a run. Pictures are named relative to the run's folder."""
    gallery = last_previews(facts)
    sections = [
        f"# {_plain(facts.name)}",
        _introduction(facts),
        *_concepts_section(facts),
        *_gallery_section(gallery, run),
        *_use_section(facts),
        *_training_section(facts, run),
        *_license_section(facts),
    ]
    return f"---\n{yaml.safe_dump(front_matter(facts, gallery, run), sort_keys=False, allow_unicode=True)}---\n\n" + (
        "\n\n".join(sections) + "\n"
    )


def front_matter(facts: Facts, gallery: list[Preview], run: RunDir) -> dict[str, object]:
    """What the hub reads; a key without a value it knows is left out, since the hub refuses cards with wrong ones.

    base_model stands there only when it is an id on the hub.
    """
    adapter = facts.config.adapter
    is_adapter = isinstance(adapter, LowRankConfig)
    kind_tags = [*dict.fromkeys(["lora", adapter.kind]), "template:sd-lora"] if is_adapter else []
    kind_tags += ["textual_inversion"] if facts.tokens else []
    words = facts.words
    license_link = OTHER_LICENSES.get(facts.base.license or "")
    front: dict[str, object] = {
        "base_model": facts.base.name if facts.base.kind == "hub" else None,
        "instance_prompt": words[0] if words else None,
        "license": "other" if license_link else facts.base.license,
        "license_name": facts.base.license if license_link else None,
        "license_link": license_link,
        "library_name": "diffusers" if _loads_in_diffusers(facts) else None,
        "pipeline_tag": "text-to-image",
        "tags": ["text-to-image", "diffusers", *kind_tags, "maquette"],
        "widget": [
            {"text": preview.prompt or " ", "output": {"url": run.relative(preview.file)}} for preview in gallery
        ],
    }
    return {key: value for key, value in front.items() if value}


def last_previews(facts: Facts) -> list[Preview]:
    """The pictures of the last preview, one seed of each prompt before the other seeds, as far as they are there.

    Pictures that ask for the class alone are left out.
    """
    last = max((preview.step for preview in facts.previews), default=0)
    there = [p for p in facts.previews if p.step == last and DRIFT not in p.scores and p.file.is_file()]
    first = {preview.prompt: preview for preview in reversed(there)}
    firsts = [preview for preview in there if first[preview.prompt] is preview]
    return [*firsts, *(preview for preview in there if preview not in firsts)][:GALLERY]


def _loads_in_diffusers(facts: Facts) -> bool:
    return any(export.kind in ("diffusers", "embedding", "folder") for export in facts.exports)


def _introduction(facts: Facts) -> str:
    called = " or ".join("`" + word.replace("`", "'") + "`" for word in facts.words)
    sentence = f"{what_it_is(facts)}, trained with maquette"
    sentence += f" on {count_of(len(facts.pictures), 'picture')}." if facts.pictures else "."
    if called:
        sentence += f"\n\n**Trigger:** write {called} in the prompt."
    for word, tokens in facts.tokens.items():
        sentence += f"\n\n**New tokens:** `{word}` stands for `{''.join(tokens)}`."
    if isinstance(facts.config.adapter, LowRankConfig):
        sentence += f"\n\n**Strength:** {facts.strength_words}"
    choice = choice_of(facts)
    if choice.is_chosen:
        sentence += f"\n\n**Checkpoint:** {' '.join([choice.headline, *choice.sentences])}"
    if not facts.is_finished:
        sentence += f"\n\n**Not finished:** step {facts.steps_done} of {facts.steps}."
    return sentence


def _concepts_section(facts: Facts) -> list[str]:
    """How each of several concepts is called, and the tags that its captions share."""
    called = [concept for concept in facts.config.concepts if not concept.virtual]
    if len(called) < 2:
        return []
    rows = [f"| {_plain(concept.trigger or '')} | {_plain(concept.phrase or '')} |" for concept in called]
    table = "\n".join(["| trigger | phrase |", "|---|---|", *rows])
    own = "Each concept has an adapter of its own, in the folder of `export/` that is named for its trigger."
    return ["## Concepts", *([own] if facts.config.is_bank else []), table]


def _gallery_section(gallery: list[Preview], run: RunDir) -> list[str]:
    if not gallery:
        return []
    rows = [f"| ![]({run.relative(preview.file)}) | {_plain(preview.prompt)} |" for preview in gallery]
    return ["## Pictures", "\n".join(["| | prompt |", "|---|---|", *rows])]


def _use_section(facts: Facts) -> list[str]:
    shown = how_to_use(facts.subject)
    if not shown:
        return []
    parts = ["## How to use it", *(f"> {note}" for note in notes(facts.subject))]
    for usage in shown:
        parts.append(f"### {usage.tool}" + (f": `{usage.file}`" if usage.file else ""))
        parts += [usage.text] if usage.text else []
        parts += [f"```{usage.language}\n{usage.code}\n```"] if usage.code else []
    return parts


def _training_section(facts: Facts, run: RunDir) -> list[str]:
    numbers = "\n".join(f"- {name}: {value}" for name, value in key_numbers(facts).items())
    settings = "\n".join(f"{setting.path} = {setting.value}" for setting in changed(settings_of(facts.config)))
    parts = ["## Training", numbers]
    thumbnails = [picture.file for picture in facts.pictures if picture.file is not None][:GALLERY]
    if thumbnails:
        parts.append(" ".join(f"![]({FOLDER}/{file.name})" for file in thumbnails))
    if settings:
        parts.append(f"What departs from the defaults (all of it is in {run.config.name}):\n\n```toml\n{settings}\n```")
    return parts


def _license_section(facts: Facts) -> list[str]:
    base = facts.base
    if base.license:
        link = OTHER_LICENSES.get(base.license)
        return ["## Licence", f"That of the base, {base.name}: {base.license}" + (f" ({link})." if link else ".")]
    sentence = f"The licence of the base, {base.name}, is not known here; what was learned from it inherits its terms."
    return ["## Licence", f"{sentence} Look it up, and name it above before you publish this."]


def _plain(text: str) -> str:
    """A text that Markdown shows as it is: on one line, without marks that would end a table cell or open HTML."""
    escaped = " ".join(text.split())
    for mark in "\\`*_[]<>|#":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped
