"""Many pictures into a folder: what exists is kept, what is missing is made."""

import hashlib
import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import track

from maquette.adapters.embeddings import knowing
from maquette.adapters.keys import layout_of
from maquette.adapters.read import parts_of, read_adapter
from maquette.adapters.worn import Worn, worn
from maquette.config.adapter import FullConfig
from maquette.config.load import load_config
from maquette.config.running import ModelConfig
from maquette.errors import CheckpointError, ConfigError, DataError
from maquette.families.base import Family
from maquette.families.load import HALVES, detect, load_model, written
from maquette.families.placement import Precision
from maquette.families.quantized import Quantization
from maquette.generation.files import read_settings, settings_of, write_picture
from maquette.generation.grid import write_grid
from maquette.generation.memory import enough_memory
from maquette.generation.sample import Request, check_request, is_black, painter
from maquette.runs.rundir import BEST, run_of

logger = logging.getLogger(__name__)

SMALLER = "Ask for smaller pictures (--height, --width), or --precision bf16"
"""What to do where the device's memory is not enough."""


@dataclass(frozen=True, slots=True)
class Maker:
    """What pictures are made with.

    adapters: (file or run folder, strength). base: a name, or a name with how it is loaded; None is the base of the
    first adapter that lies in a run, one with a prior before others, loaded as that run had it, else the embedded one.
    clip_skip, tokenizer, precision, quantize, prior: None is what that run had, else the defaults of [model].
    """

    base: str | ModelConfig | None
    adapters: Sequence[tuple[Path, float]]
    clip_skip: int | None = None
    tokenizer: str | None = None
    device: str = "auto"
    precision: Precision | None = None
    quantize: Quantization | None = None
    prior: str | None = None

    def model(self) -> ModelConfig:
        """The base and how it is loaded. Raises ConfigError for a run that trained no adapter but a whole model."""
        runs = {path: load_config(run.config) for path, _ in self.adapters if (run := run_of(path)) is not None}
        for path, config in runs.items():
            if isinstance(config.adapter, FullConfig):
                raise ConfigError(
                    f"--adapter {path}: this run trained a whole model, not an adapter. Give it as {whole(path)}."
                )
        if isinstance(self.base, ModelConfig):
            found = self.base
        elif self.base is not None:
            found = ModelConfig(base=self.base)
        else:
            # Of Kandinsky's halves, the decoder's run names both.
            models = [config.model for config in runs.values()]
            found = min(models, key=lambda model: model.prior is None, default=ModelConfig())
        given = {key: getattr(self, key) for key in ("clip_skip", "tokenizer", "precision", "quantize", "prior")}
        return found.model_copy(update={key: value for key, value in given.items() if value is not None})

    def files(self) -> list[Path]:
        """Every file that the adapters mean. Raises ConfigError where only new tokens are to be scaled."""
        found = [(*parts_of(path), path, strength) for path, strength in self.adapters]
        if odd := [str(path) for adapter, _, path, strength in found if adapter is None and strength != 1]:
            raise ConfigError(
                f"--scale: {', '.join(odd)} holds new tokens alone, which have no strength; leave it at 1."
            )
        return [file for adapter, tokens, *_ in found for file in (adapter, tokens) if file is not None]

    def described(self) -> dict[str, object]:
        """What a picture says of it: names, never paths of this machine."""
        return described(self.model(), self.adapters)


def whole(path: Path) -> str:
    """The flag that takes what a run has trained all of. path: the run's folder, or its export or best one."""
    run = run_of(path)
    assert run is not None
    model = (path if path.name == BEST else run.export) / "model"
    is_prior = (model / "model_index.json").is_file() and detect(model) == HALVES["prior"]
    return f"--{'prior' if is_prior else 'base'} {model}"


def described(model: ModelConfig, adapters: Sequence[tuple[Path, float]]) -> dict[str, object]:
    """What a picture says of the base and the adapters that it is made with: names, never paths of this machine."""
    return {
        "base": Path(model.base).name,
        "vae": None if model.vae is None else Path(model.vae).name,
        **{half: Path(name).name for half in ("prior", "decoder") if (name := getattr(model, half)) is not None},
        "precision": model.precision,
        "quantize": model.quantize,
        "adapters": [[_called(path), strength] for path, strength in adapters],
        "clip_skip": model.clip_skip,
    }


def _called(path: Path) -> str:
    return f"{path.parent.name}/{BEST}" if path.name == BEST else path.name


@contextmanager
def opened(maker: Maker) -> Generator[Family]:
    """The base of a maker, wearing its adapters."""
    family = load_model(maker.model(), device=maker.device)
    layout = layout_of(family.modules)
    parts = [(*parts_of(path), strength) for path, strength in maker.adapters]
    family = knowing(family, [tokens for _, tokens, _ in parts if tokens is not None])
    adapters = [Worn(read_adapter(file, layout).delta, strength) for file, _, strength in parts if file is not None]
    with worn(family.modules, adapters):
        yield family


def make_pictures(maker: Maker, requests: Sequence[Request], out: Path, *, cure: str = "Choose another --out.") -> Path:
    """Make every picture that is not there yet, and a grid of all; return the grid's path.

    A file with the name of a picture but other settings, or older than an adapter or than a base on this machine, is an
    error before anything is made. cure: the sentence that says what to do about it.
    """
    base = maker.model()  # first: what is said of a run without an adapter is said there
    files = maker.files()
    if absent := [str(file) for file in files if not file.is_file()]:
        raise CheckpointError(f"There is no adapter {', '.join(absent)}; give a file, or the folder of a run.")
    newest = {"the adapter": max((file.stat().st_mtime for file in files), default=0.0)}
    newest["the base"] = written(base.base)
    newest["the prior"] = written(base.prior or "")
    newest["the decoder"] = written(base.decoder or "")
    paths = [out / name_of(request) for request in requests]
    made_with = maker.described()
    settings = [settings_of(request, made_with) for request in requests]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    if other := [path.name for i, path in enumerate(paths) if i not in missing and read_settings(path) != settings[i]]:
        raise DataError(f"{out}: made with other settings: {', '.join(other)}. {cure}")
    for what, time in newest.items():
        if old := [path.name for path in paths if path.exists() and path.stat().st_mtime < time]:
            raise DataError(f"{out}: made before {what} was last written: {', '.join(old)}. {cure}")
    if missing:
        with enough_memory(SMALLER), opened(maker) as family:
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
