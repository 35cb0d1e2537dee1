"""What a report may say of the base model: a name without a path, where it comes from, and its licence if known."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from maquette.config.running import ModelConfig
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
    EMBEDDED: "apache-2.0",
}
"""Licences, in the hub's spelling, of bases whose model cards are not at hand offline. Source: those model cards."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Base:
    """The base model: its name, which is an id on the hub or a bare file or folder name, and its licence if known."""

    name: str
    kind: Literal["embedded", "hub", "local"]
    license: str | None


def base_of(model: ModelConfig) -> Base:
    """The base of a run. Reads the licence from the model card in a local folder, if there is one."""
    if model.base == EMBEDDED:
        return Base(EMBEDDED, "embedded", LICENSES[EMBEDDED])
    path = Path(model.base).expanduser()
    if _HUB_ID.fullmatch(model.base) and not path.exists():
        return Base(model.base, "hub", LICENSES.get(model.base))
    return Base(Path(named(model.base)).name, "local", license_in(path / "README.md"))


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
    found = front.get("license") if isinstance(front, dict) else None
    return found if isinstance(found, str) else None
