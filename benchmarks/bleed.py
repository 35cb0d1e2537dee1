"""Whether each trigger of a pack calls its own style: python -m benchmarks.bleed [--styles 8] [--out bleed]

Trains the preset maquette64-style-lora-pack on held-out styles of the embedded world, whose new tokens start as words
that are near (--random: at random), draws the same scenes under each trigger and under none, and compares them with
pictures of each style that training did not see. Prints the bleed matrix and writes it as OUT/bleed-NETWORK.svg and
OUT/bleed.json, once for each judge, and the pictures as OUT/grid.png. A run in OUT that was broken off goes on with
--resume. With --run RUN, a run that exists (of any base) is read instead, against its own training pictures.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.seen import called, near
from maquette.config.load import load_config, load_networks
from maquette.data.gather import gather
from maquette.data.image import decode
from maquette.embedded.folders import style_pictures, write_folder
from maquette.evaluation.bleed import Bleed, bleed
from maquette.evaluation.judges import NAMES
from maquette.evaluation.metric import Pictures
from maquette.evaluation.networks import Networks, judge_networks, open_networks
from maquette.evaluation.probes import defaults
from maquette.evaluation.wording import Wording
from maquette.families.load import EMBEDDED
from maquette.generation.batch import Maker, opened
from maquette.generation.files import to_image
from maquette.generation.grid import write_grid
from maquette.generation.sample import Request, painter
from maquette.report.heatmap import heat_map
from maquette.runs.files import write_text
from maquette.runs.rundir import RunDir
from maquette.training.scoring import wordings_of
from maquette.training.session import run

NONE = "no trigger"


def drawn(wordings: Mapping[str, Wording], base: str, adapter: Path, seeds: int) -> dict[str, Pictures]:
    """The same scenes under each trigger, and once as the class alone."""
    is_world = base in EMBEDDED
    first = next(iter(wordings.values()))
    prompts = {name: defaults(named, is_world=is_world) for name, named in wordings.items()}
    prompts[NONE] = [first.text_of(prompt) for prompt in defaults(first, is_world=is_world)]
    with opened(Maker(base, [(adapter, 1.0)])) as family, painter(family) as paint:
        return {
            name: [paint(Request(prompt=text, seed=seed, guidance=5.0)) for text in texts for seed in range(seeds)]
            for name, texts in prompts.items()
        }


def of_styles(numbers: Sequence[int], pictures: int, out: Path, sets: Sequence[str], *, resume: bool) -> Path:
    """Train a pack of held-out styles; its run's folder."""
    for number in numbers:
        name = called(number)
        if not (folder := out / "styles" / name).exists():
            write_folder(style_pictures(number, pictures, seed=0, token=name), folder)
    plain = ["preview.every=0", "evaluation.every=0", "logging.trackers=[]", *sets]
    flags = {"SOURCE": out / "styles"}
    return run(
        load_config(preset="maquette64-style-lora-pack", flags=flags, sets=plain), out=out / "run", resume=resume
    ).root


def tensor(image: Image.Image) -> torch.Tensor:
    """A picture as metrics take it."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def sheet(
    real: Mapping[str, Pictures], made: Mapping[str, Pictures], seeds: int
) -> list[tuple[str, list[Image.Image]]]:
    """A row for each concept: two real pictures, then the scenes under its trigger."""
    return [(name, [to_image(p) for p in (*real[name][:2], *made[name][::seeds])]) for name in real]


def show(matrix: Bleed, out: Path) -> None:
    """Print a matrix as a table, and write it as a picture."""
    title = f"Likeness of real pictures (rows) to those each trigger makes (columns), as {matrix.network} sees it"
    table = Table("", *matrix.triggers, title=title)
    for concept, values in zip(matrix.concepts, matrix.values, strict=True):
        cells = zip(matrix.triggers, values, strict=True)
        table.add_row(concept, *(f"[bold]{v:.2f}[/bold]" if concept == t else f"{v:.2f}" for t, v in cells))
    Console().print(table)
    least, margin = min(matrix.margins.items(), key=lambda item: item[1])
    called = f"{matrix.called:.0%} of concepts are called best by their own trigger"
    Console().print(f"{called}; smallest margin {margin:.2f} ({least}).")
    picture = heat_map(f"Bleed, as {matrix.network} sees it", matrix.concepts, matrix.triggers, matrix.values)
    write_text(out / f"bleed-{matrix.network.replace('/', '-')}.svg", picture)


def main() -> None:
    """Train or read a run, and print its matrix."""
    parser = argparse.ArgumentParser(description="Whether each trigger of a pack calls its own concept.")
    parser.add_argument("--styles", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("bleed"))
    parser.add_argument("--random", action="store_true", help="start new tokens at random")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--networks", type=Path, help="TOML file of networks; the embedded judges without one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    numbers = range(options.styles)
    sets = [*([] if options.random else near(numbers)), *options.set]
    root = options.run or of_styles(numbers, options.pictures, options.out, sets, resume=options.resume)
    config = load_config(RunDir(root).config)
    samples = gather(config).usable()
    wordings = {config.concepts[i].trigger or str(i): named for i, named in wordings_of(config, samples).items()}
    made = drawn(wordings, config.model.base, root, options.seeds)
    if options.run is None:
        real: dict[str, Pictures] = {
            called(i): [tensor(p.image) for p in style_pictures(i, options.pictures, seed=5)] for i in numbers
        }
    else:
        decoded = {id(s): tensor(decode(s.read(), s.name).rgb) for s in samples if not s.is_class}
        real = {
            name: [decoded[id(s)] for s in samples if not s.is_class and config.concepts[s.concept].trigger == name]
            for name in wordings
        }
    opened_networks: list[Networks] = (
        [open_networks(load_networks(options.networks))] if options.networks else [judge_networks(n) for n in NAMES]
    )
    role = "style" if next(iter(wordings.values())).learned == "style" else "instance"
    options.out.mkdir(parents=True, exist_ok=True)
    matrices = [bleed(getattr(networks, role), made, real) for networks in opened_networks]
    for matrix in matrices:
        show(matrix, options.out)
    write_grid(options.out / "grid.png", sheet(real, made, options.seeds))
    write_text(options.out / "bleed.json", json.dumps([asdict(matrix) for matrix in matrices], indent=2) + "\n")


if __name__ == "__main__":
    main()
