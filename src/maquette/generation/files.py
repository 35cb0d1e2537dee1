"""Pictures on disk: PNGs that say how they were made, the same bytes for the same picture."""

import json
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, PngImagePlugin

from maquette.errors import DataError
from maquette.generation.sample import Picture, Request
from maquette.runs.files import replacing

KEY = "maquette"
"""The text chunk with every setting, as JSON; "prompt", "negative prompt" and "seed" stand beside it for people."""


def settings_of(request: Request, made_with: Mapping[str, object]) -> dict[str, object]:
    """Everything that decided a picture: the request, and what it was made with (base, adapters)."""
    prior = {"prior_steps": request.prior_steps, "prior_guidance": request.prior_guidance}
    return {
        "prompt": request.prompt,
        "negative": request.negative,
        "seed": request.seed,
        "steps": request.steps,
        "guidance": request.guidance,
        "scheduler": request.scheduler,
        "size": None if request.size is None else list(request.size),
        **{key: value for key, value in prior.items() if value is not None},
        **made_with,
    }


def write_picture(path: Path, picture: Picture, settings: Mapping[str, object]) -> None:
    """Write a PNG with its settings in text chunks, atomically."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt("prompt", str(settings["prompt"]))
    if settings["negative"]:
        text.add_itxt("negative prompt", str(settings["negative"]))
    text.add_itxt("seed", str(settings["seed"]))
    text.add_itxt(KEY, json.dumps(settings, sort_keys=True, ensure_ascii=False))
    with replacing(path) as temporary:
        to_image(picture).save(temporary, format="png", pnginfo=text)


def read_settings(path: Path) -> dict[str, object]:
    """What a PNG says of how it was made. Raises DataError where it says nothing that we wrote."""
    try:
        with Image.open(path) as image:
            return json.loads(image.info[KEY])
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: is no picture that maquette made. Move it, or choose another folder.") from error


def to_image(picture: Picture) -> Image.Image:
    """The picture as Pillow knows it."""
    return Image.fromarray(picture.permute(1, 2, 0).numpy())
