"""Does a small model of a family learn a subject? python -m benchmarks.small_families --base FOLDER --out FOLDER

For held-out subjects of the world, five photos each: the LoRA preset of the base's family is trained, with the size of
what is trained and the length of the run as in maquette64-subject-lora. Held-out prompts are drawn before and after,
with the same words and seeds, and both judges compare the pictures with unseen renders of the subject (likeness) and
with their prompts, and with the other prompts for comparison. Prints a table, and writes OUT/results.json and
OUT/grid.png: photos, before and after for each subject.

--base is what `maquette world pretrain --publish` wrote, or any base of 64 pixels; --prior or --decoder is the other
half of one that has two, and --beside the OUT of an earlier call that trained this half on the same subjects: both are
worn then. A run in OUT that is finished is not trained again.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.seen import HELD_OUT, among, mean, painted, renders, seen
from maquette.config.load import load_config
from maquette.config.running import ModelConfig
from maquette.embedded.folders import subject_pictures, write_folder
from maquette.embedded.scene import held_out_subject
from maquette.evaluation.judges import NAMES, JudgeName, load_judge
from maquette.evaluation.networks import judge_networks
from maquette.evaluation.wording import with_article
from maquette.families.load import load_shapes
from maquette.generation.files import to_image
from maquette.generation.grid import write_grid
from maquette.generation.sample import Picture
from maquette.runs.files import write_text
from maquette.runs.rundir import RunDir
from maquette.training.series import is_finished
from maquette.training.session import run

PRESETS: Final[Mapping[str, str]] = {
    "sd": "maquette64-subject-lora",
    "sdxl": "playground-subject-lora",
    "kandinsky-prior": "kandinsky22prior-style-lora",
    "kandinsky-decoder": "kandinsky22decoder-style-lora",
}
"""By the family's name."""

SMALL: Final[Mapping[str, str]] = {
    "data.resolution": "64",
    "model.precision": "fp32",
    "adapter.rank": "16",
    "adapter.lora_alpha": "16",
    "adapter.targets": '"attention+feed_forward+convolutions"',
    "optimizer.lr": "5e-4",
    "training.steps": "150",
    "training.batch_size": "4",
    "training.gradient_accumulation": "1",
    "training.gradient_checkpointing": "false",
    "training.seed": "0",
    "preview.every": "0",
    "evaluation.every": "0",
    "logging.trackers": "[]",
}
"""What presets for large bases have otherwise: sizes and length are those of maquette64-subject-lora."""

PHOTOS: Final = 5
REFERENCES: Final = 12
TOKEN: Final = "sks"


@dataclass(frozen=True, slots=True)
class Row:
    """What one judge sees of one subject. real: likeness among real pictures; others: fidelity to other prompts."""

    subject: int
    judge: JudgeName
    like: tuple[float, float]
    prompt: tuple[float, float]
    others: tuple[float, float]
    real: float


def trained(number: int, model: ModelConfig, out: Path, preset: str, sets: Sequence[str]) -> Path:
    """The run that learns a subject."""
    target = run_of(number, out)
    if is_finished(target):
        return target.root
    photos = photos_of(number, out)
    if not photos.exists():
        write_folder(subject_pictures(number, PHOTOS, seed=0, token=TOKEN), photos)
    halves = {f"model.{half}": json.dumps(name) for half in ("prior", "decoder") if (name := getattr(model, half))}
    given = {key: value for key, _, value in (text.partition("=") for text in sets)}
    settings = [f"{key}={value}" for key, value in {**SMALL, **halves, **given}.items()]
    config = load_config(preset=preset, flags={"SOURCE": photos, "--base": model.base}, sets=settings)
    return run(config, out=target.root, resume=target.config.is_file()).root


def run_of(number: int, out: Path) -> RunDir:
    """The run of a subject."""
    return RunDir(out / f"subject-{number:02d}")


def photos_of(number: int, out: Path) -> Path:
    """Where the photos of a subject lie."""
    return out / f"photos-{number:02d}"


def judged(name: JudgeName, number: int, before: Sequence[Picture], after: Sequence[Picture]) -> Row:
    """What a judge sees of a subject in pictures of the held-out prompts, before and after."""
    judge, features = load_judge(name), judge_networks(name).instance.call
    real = judge.instance_features(renders(number, REFERENCES))
    texts = [text.format(with_article(held_out_subject(number).kind)) for text in HELD_OUT]
    first, then = (seen(judge, features, real, pictures, texts) for pictures in (before, after))

    def both(column: str) -> tuple[float, float]:
        return mean(getattr(first, column)), mean(getattr(then, column))

    return Row(number, name, both("like"), both("prompt"), both("others"), among(real))


def show(rows: Sequence[Row]) -> Table:
    """Each subject as each judge sees it, and the means."""
    table = Table("subject", "seen by", "likeness", "of real ones", "prompt fidelity", "other prompts")
    for row in rows:
        kind = held_out_subject(row.subject).kind
        table.add_row(f"{row.subject} ({kind})", row.judge, *cells([row]))
    for name in NAMES:
        table.add_row("mean", name, *cells([row for row in rows if row.judge == name]), style="bold")
    return table


def cells(rows: Sequence[Row]) -> list[str]:
    """Means of several rows: likeness, that of real pictures, fidelity to the prompt and to others."""

    def moved(pairs: Sequence[tuple[float, float]]) -> str:
        before, after = (mean(column) for column in zip(*pairs, strict=True))
        return f"{before:.3f} → {after:.3f}"

    return [
        moved([row.like for row in rows]),
        f"{mean([row.real for row in rows]):.3f}",
        moved([row.prompt for row in rows]),
        moved([row.others for row in rows]),
    ]


def main() -> None:
    """Train, draw, judge, print."""
    parser = argparse.ArgumentParser(description="Whether a small model of a family learns a subject.")
    parser.add_argument("--base", required=True)
    parser.add_argument("--prior")
    parser.add_argument("--decoder")
    parser.add_argument("--beside", type=Path, metavar="OUT", help="where the other half was trained")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--subjects", type=int, default=3, help="how many")
    parser.add_argument("--seeds", type=int, default=1, help="pictures of each prompt")
    parser.add_argument("--preset", help="instead of the family's own")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    model = ModelConfig(base=options.base, prior=options.prior, decoder=options.decoder)
    preset = options.preset or PRESETS[load_shapes(model).name]
    console = Console(width=120)
    seeds, rows, sheet = range(500, 500 + options.seeds), [], []
    for number in range(options.subjects):
        adapters = [trained(number, model, options.out, preset, options.set)]
        if options.beside is not None:
            adapters.append(run_of(number, options.beside).root)
        prompts = [text.format(f"{TOKEN} {held_out_subject(number).kind}") for text in HELD_OUT]
        before, after = (painted(worn, prompts, seeds, model) for worn in (None, adapters))
        rows += [judged(name, number, before, after) for name in NAMES]
        photos = [Image.open(file).convert("RGB") for file in sorted(photos_of(number, options.out).glob("*.png"))]
        sheet += [
            (f"{prompts[0].partition(' in ')[0]}: the photos", photos),
            ("before, the held-out prompts", [*map(to_image, before[:: options.seeds])]),
            ("after", [*map(to_image, after[:: options.seeds])]),
        ]
        console.print(f"measured: subject {number} ({held_out_subject(number).kind})")
    write_grid(options.out / "grid.png", sheet)
    write_text(options.out / "results.json", json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    console.print(show(rows))


if __name__ == "__main__":
    main()
