"""A grid of pictures with their prompts, to look at all of them at once."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from maquette.runs.files import replacing

GAP, LINE, SMALLEST = 8, 16, 192
"""Pixels between cells, of a line of text, and the least side that a cell is shown at."""


def write_grid(path: Path, rows: Sequence[tuple[str, Sequence[Image.Image]]]) -> None:
    """One row for each (label, pictures); small pictures are enlarged without smoothing."""
    cell = _cell([image for _, images in rows for image in images])
    columns = max(len(images) for _, images in rows)
    width = columns * (cell[0] + GAP) + GAP
    font = ImageFont.load_default(size=13)
    labels = [_wrapped(label, font, width - 2 * GAP) for label, _ in rows]
    height = GAP + sum(len(lines) * LINE + cell[1] + 2 * GAP for lines in labels)
    sheet = Image.new("RGB", (width, height), "white")
    draw, top = ImageDraw.Draw(sheet), GAP
    for lines, (_, images) in zip(labels, rows, strict=True):
        for line in lines:
            draw.text((GAP, top), line, fill="black", font=font)
            top += LINE
        for column, image in enumerate(images):
            sheet.paste(_fitted(image, cell), (GAP + column * (cell[0] + GAP), top + GAP // 2))
        top += cell[1] + 2 * GAP
    with replacing(path) as temporary:
        sheet.save(temporary, format="png")


def _cell(images: Sequence[Image.Image]) -> tuple[int, int]:
    width, height = max(image.width for image in images), max(image.height for image in images)
    times = max(1, -(-SMALLEST // max(width, height)))
    return width * times, height * times


def _fitted(image: Image.Image, cell: tuple[int, int]) -> Image.Image:
    times = min(cell[0] // image.width, cell[1] // image.height)
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines or [""]
