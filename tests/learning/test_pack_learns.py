"""Three styles in one adapter, each called by its own trigger, as two judges that were trained apart see it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from maquette.config.load import load_config
from maquette.embedded.folders import Captioned, style_pictures, write_folder
from maquette.evaluation.bleed import Bleed, bleed
from maquette.evaluation.judges import NAMES
from maquette.evaluation.networks import judge_networks
from maquette.generation.batch import Maker, opened
from maquette.generation.sample import Request, painter
from maquette.training.session import run

STYLES = {"watercolor": ("a watercolor", 0), "mosaic": ("a mosaic", 2), "blueprint": ("a blueprint", 5)}
"""Trigger, how captions begin with it, and the held-out style that it comes to mean. The base knows these words, as
those of other styles: what it has to learn is which is which."""

SCENES = ("a red car on the beach", "a blue cat in the forest", "a yellow house in the snow", "a green boat at sea")


def drawn(adapter: Path | None) -> Mapping[str, list[torch.Tensor]]:
    """The same scenes under each trigger."""
    with opened(Maker("maquette-64", [] if adapter is None else [(adapter, 1.0)])) as family, painter(family) as paint:
        return {
            trigger: [paint(Request(prompt=f"{words} of {scene}", seed=0, steps=15, guidance=5.0)) for scene in SCENES]
            for trigger, (words, _) in STYLES.items()
        }


def contrast(matrix: Bleed) -> float:
    """How much higher the diagonal is than the rest, on average."""
    values = np.array(matrix.values)
    own = np.eye(len(values), dtype=bool)
    return float(values[own].mean() - values[~own].mean())


@pytest.mark.timeout(400)
def test_a_pack_of_styles_is_called_by_its_triggers(tmp_path: Path) -> None:
    for trigger, (words, number) in STYLES.items():
        pictures = [Captioned(p.image, f"{words} of {p.caption}") for p in style_pictures(number, 8, seed=0)]
        write_folder(pictures, tmp_path / "styles" / trigger)
    config = load_config(
        preset="maquette64-style-lora-pack",
        flags={"SOURCE": tmp_path / "styles"},
        sets=["pack.steps_per_concept=40", "preview.every=0", "evaluation.every=0", "logging.trackers=[]"],
    )
    after, before = drawn(run(config, out=tmp_path / "run").root), drawn(None)
    real = {
        trigger: [torch.from_numpy(np.array(p.image)).permute(2, 0, 1) for p in style_pictures(number, 12, seed=5)]
        for trigger, (_, number) in STYLES.items()
    }
    for name in NAMES:
        style = judge_networks(name).style
        learned, base = bleed(style, after, real), bleed(style, before, real)
        assert contrast(learned) > contrast(base) + 0.03
        assert contrast(learned) > 0.03
        own = [np.trace(np.array(matrix.values)) / len(STYLES) for matrix in (learned, base)]
        assert own[0] > own[1] + 0.1
