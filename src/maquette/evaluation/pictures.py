"""Pictures on their way to a metric: real ones by their bytes, finished ones from a folder with their prompts."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from maquette.data.folder import list_folder
from maquette.data.image import decode
from maquette.errors import DataError
from maquette.evaluation.metric import Picture
from maquette.generation.files import KEY

GRIDS = frozenset({"grid.png"})
"""Sheets of all pictures, which generation writes beside them."""

_SEED = re.compile(r"[-_ ]+(?:seed)?\d+$")


@dataclass(frozen=True, slots=True)
class Real:
    """A real picture: its name and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """A picture that was made before: its file, concept, prompt and seed. base: the model's name, if it is told."""

    file: Path
    concept: str
    prompt: str
    seed: int
    base: str = ""


def list_real(folder: Path) -> tuple[Real, ...]:
    """All pictures of a folder. Raises DataError where it is none, or holds none."""
    listing = list_folder(folder)
    if not listing.pictures:
        raise DataError(f"{folder}: holds no pictures. Name a folder of real pictures to compare with.")
    return tuple(Real(listing.name(path), path.read_bytes()) for path in listing.pictures)


def real_of(root: Path, concepts: Sequence[str]) -> list[tuple[Real, ...]]:
    """The real pictures of each concept: in the folder of its name, or, where there is but one concept, in ``root``.

    Raises DataError where folders are missing, or where the pictures of the one concept lie in several folders of other
    names: those of something else may be among them.
    """
    missing = [concept for concept in concepts if not (root / concept).is_dir()]
    if not missing:
        return [list_real(root / concept) for concept in concepts]
    if len(concepts) > 1:
        raise DataError(
            f"--references {root}: has no folder {', '.join(missing)}; it should hold one for each concept: "
            f"{', '.join(concepts)}."
        )
    real = list_real(root)
    places = sorted({Path(each.name).parts[0] if "/" in each.name else "" for each in real})
    if len(places) > 1 and "" not in places:
        raise DataError(
            f"--references {root}: its pictures lie in several folders ({', '.join(places)}), and none is called "
            f"{concepts[0]}. Name the one whose pictures to compare with."
        )
    return [real]


def list_finished(folder: Path) -> list[Finished]:
    """Pictures with their prompts, which PNG texts tell, or else file names: "red-mug.png", "a red mug_3.png".

    Pictures in folders below belong to the concept of the folder's name; those at the top to that of ``folder``.
    Raises DataError where there are none, or where pictures lie both at the top and below.
    """
    listing = list_folder(folder)
    pictures = [path for path in listing.pictures if path.name not in GRIDS]
    if not pictures:
        raise DataError(f"{folder}: holds no pictures to score. Name the folder that they are in.")
    tops = [path for path in pictures if path.parent == folder]
    if tops and len(tops) < len(pictures):
        raise DataError(
            f"{folder}: pictures lie at its top ({tops[0].name}, ...) and in folders below. Give one concept's folder, "
            "or one folder for each concept."
        )
    finished = []
    for path in pictures:
        concept = folder.resolve().name if tops else path.relative_to(folder).parts[0]
        finished.append(Finished(path, concept, *_said(path)))
    return finished


def to_tensor(data: bytes, name: str) -> Picture:
    """A picture's bytes as metrics take them: RGB, uint8. Raises DataError where they are no picture."""
    return torch.from_numpy(np.array(decode(data, name).rgb)).permute(2, 0, 1).contiguous()


def load_real(real: Sequence[Real]) -> list[Picture]:
    """Real pictures, decoded."""
    return [to_tensor(each.data, each.name) for each in real]


def load_files(files: Sequence[Path]) -> list[Picture]:
    """Made pictures, decoded."""
    return [to_tensor(file.read_bytes(), str(file)) for file in files]


def _said(path: Path) -> tuple[str, int, str]:
    """Prompt, seed and base: of our PNG texts, of the `parameters` that other tools write, or of the file's name."""
    info = _texts(path)
    try:
        settings = json.loads(info.get(KEY, "{}"))
    except ValueError:
        settings = {}
    if settings.get("prompt"):
        return str(settings["prompt"]), int(settings.get("seed", 0)), str(settings.get("base", ""))
    own = info.get("prompt", "")  # ComfyUI writes its graph there, as JSON
    other = info.get("parameters", "").partition("\n")[0]
    if prompt := other if own.startswith("{") else own or other:
        return prompt, 0, ""
    digits = re.search(r"(\d+)$", path.stem)
    words = _SEED.sub("", path.stem).replace("_", " ").replace("-", " ").strip() or path.stem
    return words, int(digits[1]) if digits else 0, ""


def _texts(path: Path) -> Mapping[str, str]:
    try:
        with Image.open(path) as image:
            return {str(key): value for key, value in image.info.items() if isinstance(value, str)}
    except (OSError, SyntaxError):  # reading it as a picture says so, with its name
        return {}
