"""How long the scores of 100 pictures take: python -m benchmarks.metrics [--pictures 100]

Pictures are renders of the embedded world at 64x64: 25 prompts of 4 pictures each, of 5 held-out persons with 5 real
pictures each. Every metric of the table is computed with the embedded judge, features once for all of them. The limit
is 20 seconds on two cores.
"""

import argparse
import time

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.judge import pictures
from maquette.embedded.captions import caption
from maquette.embedded.keys import rng_for
from maquette.embedded.scene import Face, Subject, held_out_face, held_out_subject, with_scene
from maquette.errors import DataError
from maquette.evaluation.cache import Memory, remembering
from maquette.evaluation.metric import EvalSet, Pictures
from maquette.evaluation.metrics import METRICS
from maquette.evaluation.networks import judge_networks

LIMIT_S = 20.0
CONCEPTS = 5
SEEDS = 4


def renders(subject: Subject | Face, count: int, label: str) -> tuple[Pictures, list[str]]:
    """Photos of a subject, and a caption of each."""
    scenes = [with_scene(subject, rng_for("metrics", label, i).getrandbits(60), style="photo") for i in range(count)]
    return list(pictures(scenes)), [caption(scene, rng_for("metrics", label, i)) for i, scene in enumerate(scenes)]


def example(count: int) -> EvalSet:
    """A set that every metric can score: persons, since only they have faces."""
    generated, prompts, concepts = [], [], []
    references, class_images = {}, {}
    for number in range(CONCEPTS):
        person = held_out_face(number)
        name = f"concept {number}"
        found, captions = renders(person, count // CONCEPTS, f"generated {number}")
        generated += found
        prompts += [captions[i - i % SEEDS] for i in range(len(captions))]
        concepts += [name] * len(found)
        references[name], _ = renders(person, 5, f"real {number}")
        class_images[name], _ = renders(held_out_face(20 + number), 4, f"class {number}")
    neutral, _ = renders(held_out_subject(30), count // 5, "neutral")
    base, _ = renders(held_out_subject(30), count // 5, "base")
    return EvalSet(generated, prompts, concepts, references, (), class_images, neutral, base)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How long the scores of 100 pictures take.")
    parser.add_argument("--pictures", type=int, default=100)
    options = parser.parse_args()
    shown = example(options.pictures)
    networks = remembering(judge_networks(), Memory())
    table = Table("metric", "value", "95 %", "n", "seconds", title=f"{options.pictures} pictures")
    started, worked = time.monotonic(), time.process_time()
    for name, metric in METRICS.items():
        before = time.monotonic()
        try:
            score = metric(networks)(shown)
            cells = [f"{score.value:.4f}", f"{score.low:.4f} to {score.high:.4f}", str(score.n)]
        except DataError as error:
            cells = ["none", str(error).partition(". ")[0], ""]
        table.add_row(name, *cells, f"{time.monotonic() - before:.2f}")
    console = Console(width=120)
    console.print(table)
    wall, busy = time.monotonic() - started, time.process_time() - worked
    console.print(
        f"{wall:.1f} s, {busy:.1f} s of processor time, {torch.get_num_threads()} threads (limit {LIMIT_S:.0f} s)"
    )


if __name__ == "__main__":
    main()
