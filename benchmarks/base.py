"""The bars of the embedded base model: python -m benchmarks.base [--pictures 400] [--base FOLDER] [--record FILE]

Prompts are drawn from the split "test" of the world, each claiming kind, colour, place and style; one picture each, at
25 steps and guidance 5, by the code of `maquette generate`. The judge, trained apart from the base, reads what is on
them; the verifier, trained apart from both, reads them again. The autoencoder is measured on 400 scenes of the split.
--record writes the same figures as JSON.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from maquette.embedded.autoencoding import psnr, to_pixels
from maquette.embedded.captions import MEDIA, PLACE_PHRASES, with_article
from maquette.embedded.render import render
from maquette.embedded.scene import Scene, Subject, scene_at
from maquette.embedded.scoring import score_prompts, share_right
from maquette.evaluation.judges import NAMES, load_judge
from maquette.families.load import load_family
from maquette.families.sd import StableDiffusion
from maquette.generation.sample import Request, painter
from maquette.runs.files import write_text

BARS = {"kind": 0.90, "place": 0.90, "style": 0.90, "colour": 0.80}
PSNR_BAR = 27.0


def claiming_prompt(scene: Scene) -> str | None:
    """A prompt with the four claims, in the plainest words; None for a person, who has no one colour."""
    if not isinstance(scene.subject, Subject):
        return None
    subject = scene.subject
    thing = with_article(f"{subject.colour} {subject.kind}")
    return f"{MEDIA[scene.style][0]} of {thing} {PLACE_PHRASES[scene.place][0]}"


def prompts(count: int) -> list[str]:
    """The first ``count`` claiming prompts of the test split."""
    found: list[str] = []
    key = 0
    while len(found) < count:
        prompt = claiming_prompt(scene_at(key, "test"))
        found += [prompt] if prompt else []
        key += 1
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="The bars of the embedded base model.")
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--base", default="maquette-64")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    family = load_family(options.base)
    assert isinstance(family, StableDiffusion)
    asked = prompts(options.pictures)
    started = time.monotonic()
    with painter(family) as paint:
        images = torch.stack([paint(Request(prompt=p, seed=i, guidance=5.0)) for i, p in enumerate(asked)])
    seconds = (time.monotonic() - started) / len(asked)
    shares = [share_right(score_prompts(load_judge(name), images, asked)) for name in NAMES]
    table = Table("claim", "bar", *NAMES, title=f"Share of {len(asked)} pictures that show what was asked for")
    for claim, bar in BARS.items():
        table.add_row(claim, f"{bar:.0%}", *(f"{share[claim]:.1%}" for share in shares))
    scenes = torch.from_numpy(np.stack([np.asarray(render(scene_at(key, "test"))) for key in range(400)]))
    quality = psnr(family.vae.float(), to_pixels(scenes.permute(0, 3, 1, 2).contiguous().numpy()))
    if options.record is not None:
        found = {
            "pictures": len(asked),
            "share_right": {
                name: {claim: round(share[claim], 4) for claim in BARS}
                for name, share in zip(NAMES, shares, strict=True)
            },
            "autoencoder_psnr": round(quality, 2),
        }
        write_text(options.record, json.dumps(found, indent=2) + "\n")
    console = Console()
    console.print(table)
    console.print(f"autoencoder: PSNR {quality:.1f} dB (bar {PSNR_BAR} dB)")
    console.print(f"one picture at 25 steps: {seconds:.2f} s on {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
