"""What a report may say of the base model: a name without a path, where it comes from, and its licence if known."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from maquette.config.bases import PLAYGROUND, is_edm
from maquette.config.running import EDM_GUIDANCE, ModelConfig
from maquette.report.privacy import named

EMBEDDED = "maquette-64"
"""The base that comes with maquette, under its licence."""

LICENSES = {
    "CompVis/stable-diffusion-v1-4": "creativeml-openrail-m",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "creativeml-openrail-m",
    "stabilityai/stable-diffusion-2": "openrail++",
    "stabilityai/stable-diffusion-2-base": "openrail++",
    "stabilityai/stable-diffusion-2-1": "openrail++",
    "stabilityai/stable-diffusion-2-1-base": "openrail++",
    "stabilityai/stable-diffusion-xl-base-1.0": "openrail++",
    "kandinsky-community/kandinsky-2-2-decoder": "apache-2.0",
    "kandinsky-community/kandinsky-2-2-prior": "apache-2.0",
    PLAYGROUND: "playground-v2dot5-community",
    EMBEDDED: "apache-2.0",
}
"""Licences, in the hub's spelling, of bases whose model cards are not at hand offline. Source: those model cards."""

OTHER_LICENSES = {"playground-v2dot5-community": f"https://huggingface.co/{PLAYGROUND}/blob/main/LICENSE.md"}
"""Licences that the hub lists as "other" beside their name, and where their text is."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Base:
    """The base model: its name, which is an id on the hub or a bare file or folder name, and its licence if known.

    guidance: how strongly prompts are to be followed, where the pipelines' own number would be wrong.
    """

    name: str
    kind: Literal["embedded", "hub", "local"]
    license: str | None
    guidance: float | None = None


def base_of(model: ModelConfig) -> Base:
    """The base of a run. Of a local folder, the licence is read from its model card, if there is one."""
    if model.base == EMBEDDED:
        return Base(EMBEDDED, "embedded", LICENSES[EMBEDDED])
    path = Path(model.base).expanduser()
    guidance = EDM_GUIDANCE if is_edm(model.base) else None
    if _HUB_ID.fullmatch(model.base) and not path.exists():
        return Base(model.base, "hub", LICENSES.get(model.base), guidance)
    return Base(Path(named(model.base)).name, "local", license_in(path / "README.md"), guidance)


def license_in(card: Path) -> str | None:
    """The licence that a model card's front matter names; None where it has none, or there is no card."""
    if not card.is_file():
        return None
    parts = card.read_text(encoding="utf-8", errors="replace").split("---", 2)
    if len(parts) < 3 or parts[0].strip():
        return None
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return None
    if not isinstance(front, dict):
        return None
    found, name = front.get("license"), front.get("license_name")
    if isinstance(name, str) and name in OTHER_LICENSES:
        return name
    return found if isinstance(found, str) else None
