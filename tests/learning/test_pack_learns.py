"""Eight held-out styles in one adapter, each called by its own trigger, as two judges trained apart see it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.seen import called, near

from maquette.config.load import load_config
from maquette.embedded.folders import style_pictures, write_folder
from maquette.embedded.vocabulary import HELD_OUT_STYLES
from maquette.evaluation.bleed import Bleed, bleed
from maquette.evaluation.judges import NAMES
from maquette.evaluation.networks import judge_networks
from maquette.generation.batch import Maker, opened
from maquette.generation.sample import Request, painter
from maquette.training.session import run

STYLES = range(len(HELD_OUT_STYLES))
SCENES = ("a red car on the beach", "a blue cat in the forest", "a yellow house in the snow", "a green boat at sea")


def drawn(adapter: Path | None) -> Mapping[str, list[torch.Tensor]]:
    """The same scenes under each trigger."""
    with opened(Maker("maquette-64", [] if adapter is None else [(adapter, 1.0)])) as family, painter(family) as paint:
        return {
            trigger: [paint(Request(prompt=f"{s}, in {trigger} style", seed=0, steps=12, guidance=5.0)) for s in SCENES]
            for trigger in map(called, STYLES)
        }


def contrast(matrix: Bleed) -> float:
    """How much higher the diagonal is than the rest, on average."""
    values = np.array(matrix.values)
    own = np.eye(len(values), dtype=bool)
    return float(values[own].mean() - values[~own].mean())


@pytest.mark.timeout(600)
def test_each_trigger_of_a_pack_of_eight_calls_its_own_style(tmp_path: Path) -> None:
    for number in STYLES:
        pictures = style_pictures(number, 12, seed=0, token=called(number))
        write_folder(pictures, tmp_path / "styles" / called(number))
    short = ["pack.steps_per_concept=40", "preview.every=0", "evaluation.every=0", "logging.trackers=[]"]
    config = load_config(
        preset="maquette64-style-lora-pack", flags={"SOURCE": tmp_path / "styles"}, sets=[*short, *near(STYLES)]
    )
    after, before = drawn(run(config, out=tmp_path / "run").root), drawn(None)
    real = {
        called(number): [
            torch.from_numpy(np.array(p.image)).permute(2, 0, 1) for p in style_pictures(number, 12, seed=5)
        ]
        for number in STYLES
    }
    for name in NAMES:
        style = judge_networks(name).style
        learned, base = bleed(style, after, real), bleed(style, before, real)
        assert abs(contrast(base)) < 0.1  # whose text encoder has read none of these words
        assert contrast(learned) > 0.3
        assert learned.called >= 3 / 8  # 1 by chance
