"""What each method changes: python -m benchmarks.ablations --out FOLDER [--jobs 2] [--table docs/ablations.md]

Eight held-out subjects of the embedded world, three seeds, 150 steps of four pictures, by LoRA, DoRA, pivotal tuning,
LoRA+, S0's adaptive rate, LoRA-GA, Prodigy, with class images, without min-SNR and at other ranks; and eight held-out
styles in packs of 1, 2, 4 and 8. Both judges score pictures of prompts that were not trained on. Every method is one
recipe with one thing changed, and what that needs: LoRA+ learns at 1e-4 instead of 5e-4, since its up matrices have 16
times the rate, and LoRA-GA has half the rank, since its file has twice. Nothing is tuned to make a claim come true.

It prints how long it will take as soon as a few runs are done. Interrupted, it goes on where it stopped: each setting,
subject and seed is a line of FOLDER/results.jsonl, and what has a line is skipped. --table FILE writes the page, with
charts into the folder images beside it, from what is there, and says of each claim of S0 and S1 whether it is seen, not
seen or within noise, by the intervals alone. To try it: --subjects 1 --styles 2 --seeds 1 --steps 4.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

from benchmarks.ablations.measure import measure
from benchmarks.ablations.settings import NUM_STYLES, NUM_SUBJECTS, PACKS, SUBJECTS, Task, lines_of, missing, tasks
from benchmarks.ablations.table import write
from benchmarks.lines import read_lines

NAMES = [*(each.name for each in SUBJECTS), *(f"pack-{n}" for n in PACKS)]


def main() -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--settings", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--subjects", type=int, default=NUM_SUBJECTS)
    parser.add_argument("--styles", type=int, default=NUM_STYLES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--jobs", type=int, default=1, help="processes of one core each")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the page of what is there, and stop")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "results.jsonl"
    planned = [*tasks(options.settings, options.subjects, options.styles, options.seeds, options.steps)]
    if options.table is None:
        left = [task for task in planned if missing(task, read_lines(file))]
        measure_all(left, options.out, options.jobs)
        return
    results = sum(len(lines_of(task)) for task in planned if task.steps)
    write(read_lines(file), options.steps, results, options.table)
    Console().print(f"{options.table} is written.", markup=False)


def measure_all(left: list[Task], out: Path, jobs: int) -> None:
    """Measure tasks, and say after each about how long the rest takes."""
    console = Console()
    done = 0
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(measure, task, out): task for task in left}
        for future in as_completed(futures):
            future.result()
            task = futures[future]
            done += 1
            things = ", ".join(map(str, task.numbers))
            console.print(
                f"{done} of {len(left)}: {task.setting}, {task.about} {things}, seed {task.seed}; "
                f"{told_rest(left, read_lines(out / 'results.jsonl'), jobs)}",
                markup=False,
            )


def told_rest(left: list[Task], rows: list[dict], jobs: int) -> str:
    """About how long the rest takes, by the processor time of what was measured."""
    taken: dict[str, list[float]] = {}
    for row in rows:
        taken.setdefault(row["setting"], []).append(row["seconds"])
    known = {setting: sum(times) / len(times) for setting, times in taken.items()}
    rest = [line for task in left if missing(task, rows) for line in lines_of(task)]
    typical = sum(known.values()) / len(known)
    minutes = sum(known.get(line[0], typical) for line in rest) / 60 / jobs
    return f"about {minutes:.0f} minutes to go"


if __name__ == "__main__":
    main()
