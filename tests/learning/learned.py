"""What tests of learning share: a held-out subject, how pictures of a run are made, and how alike two sets are."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from maquette.config.load import load_config
from maquette.embedded.render import render
from maquette.embedded.scene import held_out_subject, with_scene
from maquette.evaluation.judge import Judge
from maquette.evaluation.judges import load_judge
from maquette.generation.batch import Maker, opened
from maquette.generation.sample import Request, painter
from maquette.training.session import run

SUBJECT = 3
PLACES = {"beach": "on the beach", "city": "in the city", "desert": "in the desert", "snow": "in the snow"}
"""Places to draw the subject in."""


@pytest.fixture(scope="module")
def judges() -> dict[str, Judge]:
    return {name: load_judge(name) for name in ("judge", "verifier")}


def unseen() -> torch.Tensor:
    """Renders of the subject that no training sees."""
    return renders(with_scene(held_out_subject(SUBJECT), 1000 + key, style="photo") for key in range(8))


def painted(base: str, adapter: Path | None, prompts: Sequence[str], seeds: int = 2, steps: int = 25) -> torch.Tensor:
    maker = Maker(base, [] if adapter is None else [(adapter, 1.0)])
    with opened(maker) as family, painter(family) as paint:
        requests = [Request(prompt=p, seed=s, guidance=5.0, steps=steps) for p in prompts for s in range(seeds)]
        return torch.stack([paint(request) for request in requests])


def renders(scenes: Iterator[object]) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(render(scene)) for scene in scenes])).permute(0, 3, 1, 2)


def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean cosine between every picture of one set and every one of the other."""
    return float((one @ other.T).mean())


def trained(photos: Path, out: Path, *sets: str, preset: str = "maquette64-subject-lora") -> Path:
    config = load_config(
        None,
        preset=preset,
        flags={"SOURCE": photos},
        sets=["preview.every=0", "evaluation.every=0", "logging.trackers=[]", "checkpoints.every=1000", *sets],
    )
    return run(config, out=out).root
