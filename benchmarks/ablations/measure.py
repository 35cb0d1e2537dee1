"""One run of the ablations: it is trained, draws the held-out prompts, and both judges say what they see."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.ablations.settings import BASE, SUBJECTS, About, Task, line_of, lines_of
from benchmarks.lines import add_line, read_lines
from benchmarks.seen import HELD_OUT, among, called, mean, near, painted, renders, seen
from maquette.config.load import load_config
from maquette.embedded.folders import style_pictures, subject_pictures, write_folder
from maquette.embedded.scene import held_out_subject
from maquette.evaluation.judges import NAMES, JudgeName, load_judge
from maquette.evaluation.networks import judge_networks
from maquette.evaluation.wording import with_article
from maquette.generation.sample import Picture
from maquette.training.session import run

PHOTOS: Final = 5
STYLE_PICTURES: Final = 12
REFERENCES: Final = 12
SEEDS: Final = (500,)
"""Of the pictures that are judged."""

CLASS: Final = ("a photo of {} in the city", "a photo of {} in the snow", "a photo of {} on the grass")
"""Other members of the class, whose likeness to the subject should stay low."""

SCENES: Final = (
    "a red mug on the beach",
    "a white house in the snow",
    "a green tree on the grass",
    "a blue car in the city",
    "an orange fish at sea",
    "a yellow star at night",
    "a pink flower in the desert",
    "a black cat in the forest",
)
"""What a learned style is asked for."""

QUIET: Final = ("preview.every=0", "evaluation.every=0", "logging.trackers=[]")


def measure(task: Task, out: Path) -> None:
    """Add the lines of a task to the results. Its run lies in a temporary folder that is gone afterwards."""
    torch.set_num_threads(1)
    begun = time.process_time()
    file = out / "results.jsonl"
    with tempfile.TemporaryDirectory() as folder:
        adapter = None if task.setting == BASE else trained(task, Path(folder))
        for line in lines_of(task):
            if line in {line_of(row) for row in read_lines(file)}:
                continue
            number = line[2]
            found = of_base(task.about, number) if adapter is None else judged(task, number, adapter)
            key = dict(zip(("setting", "about", "number", "seed", "steps"), line, strict=True))
            add_line(file, {**key, **found, "seconds": time.process_time() - begun})
            begun = time.process_time()


def trained(task: Task, folder: Path) -> Path:
    """The run of a task, in a folder."""
    sets = [f"training.seed={task.seed}", *QUIET]
    if task.about == "style":
        for number in task.numbers:
            name = called(number)
            write_folder(style_pictures(number, STYLE_PICTURES, seed=0, token=name), folder / "styles" / name)
        sets += [f"pack.steps_per_concept={task.steps}", *near(task.numbers)]
        config = load_config(preset="maquette64-style-lora-pack", flags={"SOURCE": folder / "styles"}, sets=sets)
        return run(config, out=folder / "run").root
    setting = next(each for each in SUBJECTS if each.name == task.setting)
    (number,) = task.numbers
    write_folder(subject_pictures(number, PHOTOS, seed=0, token=setting.token), folder / "photos")
    kind = held_out_subject(number).kind
    if setting.has_class:
        sets.append(f'class_images.prompt="a photo of {with_article(kind)}"')
    sets += [f"training.steps={task.steps}", *setting.sets]
    return run(
        load_config(preset=setting.recipe, flags={"SOURCE": folder / "photos"}, sets=sets), out=folder / "run"
    ).root


def judged(task: Task, number: int, adapter: Path) -> dict[str, object]:
    """What both judges see in the pictures of one thing that an adapter has learned."""
    token = next((each.token for each in SUBJECTS if each.name == task.setting), "")
    pictures = painted(adapter, prompts(task.about, number, token), SEEDS)
    found: dict[str, object] = {name: both(name, task.about, number, pictures) for name in NAMES}
    if task.about == "subject":
        plain = painted(adapter, [text.format(with_article(held_out_subject(number).kind)) for text in CLASS], SEEDS)
        found["class"] = {name: likeness(name, number, plain) for name in NAMES}
    return {**found, "detail": [detail(picture) for picture in pictures]}


def of_base(about: About, number: int) -> dict[str, object]:
    """The ends of the balance (docs/evaluation.md), by either judge: the base's own pictures, and real ones."""
    asked = painted(None, prompts(about, number, "sks"), SEEDS)
    plain = painted(None, texts(about, number), SEEDS)
    found: dict[str, object] = {}
    for name in NAMES:
        own = both(name, about, number, plain)
        ends = {
            "untouched": mean(both(name, about, number, asked)["like"]),
            "real": among(references(name, about, number)),
        }
        found[name] = {**ends, "followed": mean(own["prompt"]), "ignored": mean(own["others"])}
    return {**found, "detail": [detail(picture) for picture in plain]}


def prompts(about: About, number: int, token: str) -> list[str]:
    """What is asked for. token: the word for a subject; a style is called by its name."""
    if about == "style":
        return [f"{scene}, in {called(number)} style" for scene in SCENES]
    return [text.format(f"{token} {held_out_subject(number).kind}") for text in HELD_OUT]


def texts(about: About, number: int) -> list[str]:
    """The same in words that judges know."""
    if about == "style":
        return [*SCENES]
    return [text.format(with_article(held_out_subject(number).kind)) for text in HELD_OUT]


def both(name: JudgeName, about: About, number: int, pictures: Sequence[Picture]) -> dict[str, list[float]]:
    """Likeness and prompt fidelity of each picture, by one judge."""
    features = judge_networks(name).instance if about == "subject" else judge_networks(name).style
    real = references(name, about, number)
    return asdict(seen(load_judge(name), features.call, real, pictures, texts(about, number)))


def likeness(name: JudgeName, subject: int, pictures: Sequence[Picture]) -> list[float]:
    """The mean cosine of each picture to the subject's references."""
    features = judge_networks(name).instance.call(pictures)
    return (features @ references(name, "subject", subject).T).mean(1).tolist()


def references(name: JudgeName, about: About, number: int) -> Tensor:
    """Features of real pictures that no run is trained on."""
    if about == "subject":
        return load_judge(name).instance_features(renders(number, REFERENCES))
    real = [np.asarray(each.image.convert("RGB")) for each in style_pictures(number, REFERENCES, seed=5)]
    return load_judge(name).style_features(torch.from_numpy(np.stack(real)).permute(0, 3, 1, 2).contiguous())


def detail(picture: Picture) -> float:
    """How much fine detail a picture has: the mean distance of its brightness from its surroundings', of 0 to 1."""
    weights = torch.tensor([0.299, 0.587, 0.114])  # Rec. 601, as for television
    brightness = (picture.float() / 255 * weights[:, None, None]).sum(0)[None, None]
    around = functional.avg_pool2d(brightness, 3, stride=1)
    return float((brightness[:, :, 1:-1, 1:-1] - around).abs().mean())
