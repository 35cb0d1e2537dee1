"""Pretraining of a judge, stage by stage; every stage resumes from its own file in the work folder."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from maquette.embedded import judging
from maquette.embedded.bank import Content, draw_bank, open_bank
from maquette.embedded.pretrain import Part, Tick, run_part
from maquette.embedded.scene import Split
from maquette.evaluation.judges import JudgeName, write_judge
from maquette.evaluation.towers import Networks, TowerConfig
from maquette.training.seeds import global_generators, key_at

PICTURES: Final[Mapping[Content, int]] = {"scenes": 40_000, "subjects": 12_000, "faces": 8_000}
"""How many pictures a judge learns from, by what they show."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that sets one judge apart from the other."""

    split: Split
    channels: tuple[int, int, int, int]
    text_width: int
    reader: Part
    instance: Part
    face: Part
    style: Part


RECIPES: Final[Mapping[JudgeName, Recipe]] = {
    "judge": Recipe(
        split="judge",
        channels=(24, 48, 96, 120),
        text_width=96,
        reader=Part(steps=6500, batch_size=32, lr=2e-3, seed=11),
        instance=Part(steps=300, batch_size=60, lr=1e-3, seed=12),
        face=Part(steps=300, batch_size=60, lr=1e-3, seed=13),
        style=Part(steps=400, batch_size=64, lr=1e-3, seed=14),
    ),
    "verifier": Recipe(
        split="verifier",
        channels=(24, 56, 88, 120),
        text_width=80,
        reader=Part(steps=6500, batch_size=32, lr=2e-3, seed=21),
        instance=Part(steps=300, batch_size=60, lr=1e-3, seed=22),
        face=Part(steps=300, batch_size=60, lr=1e-3, seed=23),
        style=Part(steps=400, batch_size=64, lr=1e-3, seed=24),
    ),
}


def pretrain_judge(work: Path, out: Path, name: JudgeName) -> Iterator[Tick]:
    """Draw the pictures of one judge, train its networks and write it to the folder ``out``.

    Nothing of the base is used. Pictures lie in ``work``/bank and stages in ``work``/NAME-STAGE.safetensors: what is
    there is kept and gone on with.
    """
    recipe = RECIPES[name]
    for content, count in PICTURES.items():
        for done in draw_bank(work / "bank", count, recipe.split, 1, content):
            yield Tick(f"{name}: {content}", done, count)
    config = TowerConfig(
        channels=recipe.channels,
        features=64,
        text_width=recipe.text_width,
        attributes=judging.ATTRIBUTES,
        words=judging.vocabulary(recipe.split),
    )
    with global_generators(key_at(recipe.reader.seed, 0, stream=name)):
        networks = Networks(config)
    yield from _train(work, name, recipe, networks, config.words)
    write_judge(out, networks, config, {"pictures": dict(PICTURES), "recipe": asdict(recipe)})


def _train(work: Path, name: JudgeName, recipe: Recipe, networks: Networks, words: tuple[str, ...]) -> Iterator[Tick]:
    """The reader first; the other encoders start from its picture tower, which knows the world by then."""
    split, part = recipe.split, recipe.reader
    scenes, subjects, faces = (open_bank(work / "bank", n, split, content) for content, n in PICTURES.items())
    temperature = judging.Temperature()
    yield from run_part(
        work / f"{name}-reader.safetensors",
        part,
        {"reader": networks.reader, "text": networks.text, "temperature": temperature},
        judging.reading(networks.reader, networks.text, temperature),
        judging.reading_batches(scenes, split, words, part.batch_size, part.seed),
    )
    for encoder in (networks.instance, networks.face, networks.style):
        encoder.tower.load_state_dict(networks.reader.tower.state_dict())
    part = recipe.instance
    yield from run_part(
        work / f"{name}-instance.safetensors",
        part,
        {"instance": networks.instance},
        judging.telling_apart(networks.instance, judging.weathered),
        judging.subject_batches(subjects, split, part.batch_size, part.seed),
    )
    part = recipe.face
    yield from run_part(
        work / f"{name}-face.safetensors",
        part,
        {"face": networks.face},
        judging.telling_apart(networks.face, judging.weathered),
        judging.face_batches(faces, part.batch_size, part.seed),
    )
    part = recipe.style
    yield from run_part(
        work / f"{name}-style.safetensors",
        part,
        {"style": networks.style},
        judging.telling_apart(networks.style, judging.moved),  # blur and noise are part of a style
        judging.style_batches(scenes, split, part.batch_size, part.seed),
    )
