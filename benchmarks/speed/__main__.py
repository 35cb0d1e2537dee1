"""Training speed, side by side: python -m benchmarks.speed COMPARISON... [--size small|sd15] [--example SCRIPT]

Every way to train runs in a process of its own; they take turns of a few steps, so that whatever else the machine does
falls on all of them. Starting up is not counted. Times are medians over the rounds; ratios are taken within each round,
to the first row, and their range is given. Processor time is what to compare on a machine that others use too.

The small size is the embedded base. The base of Stable Diffusion 1.5's size has random weights and is made first
(2 GB), and so is a small one for the public example, of the embedded base's shapes with four channels of latents;
--keep FOLDER keeps them for the next time. --example takes the path of diffusers'
examples/dreambooth/train_dreambooth_lora.py, which runs as it is.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.speed.arms import COMPARISONS, PICTURES, SETTINGS, Size
from benchmarks.speed.bases import embedded_size, make_pictures, sd15_size
from benchmarks.speed.tables import Result, markdown, show
from benchmarks.speed.turns import measured
from maquette.families.load import EMBEDDED


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "comparisons", nargs="+", choices=[*COMPARISONS], metavar="COMPARISON", help=", ".join(COMPARISONS)
    )
    parser.add_argument("--size", choices=[*SETTINGS], default="small")
    parser.add_argument("--example", type=Path, help="train_dreambooth_lora.py of diffusers")
    parser.add_argument("--steps", type=int, help="steps in each turn")
    parser.add_argument("--rounds", type=int, help="turns of each arm")
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rank", type=int)
    parser.add_argument("--keep", type=Path, help="folder to keep the random base in, and to find it again")
    parser.add_argument("--markdown", type=Path, help="file to write the tables to")
    parser.add_argument("--json", type=Path, help="file to write every turn to")
    options = parser.parse_args()
    if options.example is None and any(name.startswith("example") for name in options.comparisons):
        parser.error("--example is needed: the path of diffusers' examples/dreambooth/train_dreambooth_lora.py.")
    if options.example is not None and not options.example.is_file():
        parser.error(f"--example {options.example}: there is no such file.")
    asked = {"turn": options.steps, "rounds": options.rounds}
    asked |= {key: getattr(options, key) for key in ("resolution", "batch", "rank")}
    setting = replace(SETTINGS[options.size], **{key: value for key, value in asked.items() if value is not None})
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        make_pictures(work / "pictures", PICTURES, setting.resolution)
        setting = replace(setting, pictures=str(work / "pictures"), example=str((options.example or Path()).resolve()))
        results = []
        for name in options.comparisons:
            base = base_for(name, options.size, options.keep or work)
            here = replace(setting, base=str(base))
            results.append(Result(name, here, measured(COMPARISONS[name], here, work / name)))
            show(results[-1])
    if options.markdown:
        options.markdown.write_text(markdown(results), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps([result.data() for result in results], indent=1), encoding="utf-8")


def base_for(comparison: str, size: Size, folder: Path) -> Path:
    """What a comparison trains; made in ``folder`` unless it is there, or comes with the package."""
    if size == "small" and not comparison.startswith("example"):
        return EMBEDDED["maquette-64"]
    name, make = {"small": ("embedded-size", embedded_size), "sd15": ("sd15-size", sd15_size)}[size]
    if not (folder / name / "model_index.json").is_file():
        make(folder / name)
    return folder / name


if __name__ == "__main__":
    main()
