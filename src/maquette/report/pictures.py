"""Pictures in a page: small copies that carry pixels and nothing else, written into the page itself."""

import base64
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from maquette.runs.files import replacing, write_text

LONGEST = 256
"""Pixels of the longer side of what a run keeps of its training pictures."""

SMALL = 128
"""Pictures up to this many pixels on a side lose nothing; larger ones become JPEG."""


FOLDER = "pictures"
"""Where in a run's folder the small copies of the training pictures are."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A picture as part of a page: a data URL, and its own (height, width) in pixels before it was made smaller."""

    url: str
    size: tuple[int, int]

    @property
    def is_small(self) -> bool:
        """Whether the page has to enlarge it, and should show its pixels as they are."""
        return max(self.size) <= SMALL


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One training picture: its caption, and the file of its small copy, if one was allowed."""

    caption: str
    file: Path | None


def embed(image: Image.Image, longest: int) -> Embedded:
    """A picture made at most ``longest`` pixels wide and high, without EXIF, comments, profiles or text."""
    data, kind = encoded(image, longest)
    return Embedded(f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}", (image.height, image.width))


def encoded(image: Image.Image, longest: int) -> tuple[bytes, Literal["png", "jpeg"]]:
    """The bytes and format of a small copy: PNG for what is small already, where JPEG would show, else JPEG."""
    data = io.BytesIO()
    if max(image.size) <= SMALL:
        small_copy(image, longest).save(data, "png", optimize=True)
        return data.getvalue(), "png"
    small_copy(image, longest).save(data, "jpeg", quality=86, optimize=True)
    return data.getvalue(), "jpeg"


def small_copy(image: Image.Image, longest: int) -> Image.Image:
    """A new RGB picture with the pixels alone: Pillow would write a copied one's profile and comment again."""
    copy = image.convert("RGB")
    copy.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    clean = Image.new("RGB", copy.size)
    clean.paste(copy)
    return clean


def save_thumbnails(folder: Path, pictures: Iterable[tuple[Image.Image, str]], *, captions_only: bool = False) -> None:
    """Keep what a run was trained on for its report: small copies, and captions in a metadata.jsonl beside them.

    pictures: upright ones, as the data layer decodes them, each with its caption.
    captions_only: for people who do not want their pictures shown (output.thumbnails = false).
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (image, caption) in enumerate(pictures):
        name = None
        if not captions_only:
            data, kind = encoded(image, LONGEST)
            name = f"{number:04}.{kind}"
            with replacing(folder / name) as temporary:
                temporary.write_bytes(data)
        lines.append(json.dumps({"file_name": name, "text": caption}, ensure_ascii=False))
    write_text(folder / "metadata.jsonl", "".join(f"{line}\n" for line in lines))


def read_thumbnails(folder: Path) -> Iterator[Thumbnail]:
    """What ``save_thumbnails`` kept; nothing where it has not been called."""
    index = folder / "metadata.jsonl"
    if index.is_file():
        for line in index.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield Thumbnail(row["text"], folder / row["file_name"] if row["file_name"] else None)
