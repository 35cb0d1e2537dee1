"""Many pictures into a folder: what exists is kept, what is missing is made."""

import hashlib
import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import Image
from rich.console import Console
from rich.progress import track

from maquette.adapters.keys import layout_of
from maquette.adapters.read import read_adapter
from maquette.adapters.worn import Worn, worn
from maquette.config.load import load_config
from maquette.errors import DataError
from maquette.families.base import Family
from maquette.families.load import load_family
from maquette.families.placement import Precision
from maquette.generation.files import read_settings, settings_of, write_picture
from maquette.generation.grid import write_grid
from maquette.generation.sample import Request, check_request, is_black, painter

logger = logging.getLogger(__name__)

DEFAULT_BASE = "maquette-64"


@dataclass(frozen=True, slots=True)
class Maker:
    """What pictures are made with.

    adapters: (file or run folder, strength). base: None is the base of the first run folder, else the embedded one.
    """

    base: str | None
    adapters: Sequence[tuple[Path, float]]
    clip_skip: int = 0
    tokenizer: str | None = None
    device: str = "auto"
    precision: str = "auto"

    def base_name(self) -> str:
        """The base as a person would name it."""
        if self.base is not None:
            return self.base
        runs = [path / "config.toml" for path, _ in self.adapters if (path / "config.toml").is_file()]
        return str(load_config(runs[0]).model.base) if runs else DEFAULT_BASE

    def described(self) -> dict[str, object]:
        """What a picture says of it: names, never paths of this machine."""
        return {
            "base": Path(self.base_name()).name,
            "adapters": [[path.name, strength] for path, strength in self.adapters],
            "clip_skip": self.clip_skip,
        }


@contextmanager
def opened(maker: Maker) -> Generator[Family]:
    """The base of a maker, wearing its adapters."""
    family = load_family(
        maker.base_name(),
        device=maker.device,
        precision=cast(Precision, maker.precision),
        tokenizer=maker.tokenizer,
        clip_skip=maker.clip_skip,
    )
    layout = layout_of(family.modules)
    adapters = [Worn(read_adapter(path, layout).delta, strength) for path, strength in maker.adapters]
    with worn(family.modules, adapters):
        yield family


def make_pictures(maker: Maker, requests: Sequence[Request], out: Path) -> Path:
    """Make every picture that is not there yet, and a grid of all; return the grid's path.

    A file with the name of a picture but other settings is an error before anything is made.
    """
    paths = [out / name_of(request) for request in requests]
    settings = [settings_of(request, maker.described()) for request in requests]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    if other := [path.name for i, path in enumerate(paths) if i not in missing and read_settings(path) != settings[i]]:
        raise DataError(f"{out}: made with other settings: {', '.join(other)}. Choose another --out.")
    if missing:
        with opened(maker) as family:
            for request in requests:
                check_request(family, request)
            with painter(family) as paint:
                console = Console(stderr=True)
                for i in track(missing, "Making pictures", console=console, disable=not console.is_terminal):
                    picture = paint(requests[i])
                    if is_black(picture):
                        logger.warning("%s is black: numbers overflowed; try --precision fp32.", paths[i].name)
                    write_picture(paths[i], picture, settings[i])
    grid = out / "grid.png"
    write_grid(grid, _rows(requests, paths))
    return grid


def name_of(request: Request) -> str:
    """A file name from the words of the prompt, a digest of the whole of it, and the seed."""
    words = "-".join("".join(c if c.isalnum() else " " for c in request.prompt.lower()).split())[:60]
    digest = hashlib.sha256(request.prompt.encode()).hexdigest()[:6]
    return f"{words or 'empty'}-{digest}-{request.seed:05d}.png"


def _rows(requests: Sequence[Request], paths: Sequence[Path]) -> list[tuple[str, list[Image.Image]]]:
    rows: dict[str, list[Image.Image]] = {}
    for request, path in zip(requests, paths, strict=True):
        with Image.open(path) as image:
            rows.setdefault(request.prompt, []).append(image.convert("RGB"))
    return list(rows.items())
