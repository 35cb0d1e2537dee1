"""Something is learned: each method carries what it was shown to places it was never shown in, as the judges see it.

The judge's instance, style and face encoders compare pictures with renders of the same held-out subject that training
did not see; the verifier, trained apart, must agree. Thresholds lie well below what was measured, and above noise.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from maquette.config.load import load_config
from maquette.embedded.folders import face_pictures, style_pictures, subject_pictures, write_folder
from maquette.embedded.render import render
from maquette.embedded.scene import held_out_face, held_out_subject, with_scene
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


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "mug"
    write_folder(subject_pictures(SUBJECT, 5, seed=0, token="sks"), folder)
    return folder


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


METHODS = {
    "lora": [],
    "dora": ["adapter.kind=dora"],
    "full": ["adapter.kind=full", "optimizer.lr=2e-4"],
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("method", METHODS)
def test_a_subject_is_carried_to_new_places(
    method: str, photos: Path, judges: dict[str, Judge], tmp_path: Path
) -> None:
    out = trained(photos, tmp_path / method, *METHODS[method])
    prompts = [f"a photo of sks mug {phrase}" for phrase in PLACES.values()]
    plain = [f"a photo of a mug {phrase}" for phrase in PLACES.values()]
    base = out / "export" / "model" if method == "full" else None
    after = painted(str(base or "maquette-64"), None if base else out, prompts)
    before = painted("maquette-64", None, plain)
    unseen = renders(with_scene(held_out_subject(SUBJECT), 1000 + key, style="photo") for key in range(8))
    for judge in judges.values():
        real = judge.instance_features(unseen)
        gain = likeness(judge.instance_features(after), real) - likeness(judge.instance_features(before), real)
        assert gain > 0.2
        places = [place for place in PLACES for _ in range(2)]
        kept = np.mean([said == place for said, place in zip(judge.read(after).values["place"], places, strict=True)])
        assert kept >= 0.5


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("method", "least"), [("lora-pivotal", 0.2), ("inversion", 0.1)])
def test_a_subject_is_learned_as_new_tokens(
    method: str, least: float, judges: dict[str, Judge], tmp_path: Path
) -> None:
    folder = tmp_path / "mug"
    write_folder(subject_pictures(SUBJECT, 5, seed=0, token="TOK"), folder)
    out = trained(folder, tmp_path / "run", "training.steps=120", preset=f"maquette64-subject-{method}")
    after = painted("maquette-64", out, [f"a photo of TOK mug {phrase}" for phrase in PLACES.values()])
    before = painted("maquette-64", None, [f"a photo of a mug {phrase}" for phrase in PLACES.values()])
    unseen = renders(with_scene(held_out_subject(SUBJECT), 1000 + key, style="photo") for key in range(8))
    for judge in judges.values():
        real = judge.instance_features(unseen)
        gain = likeness(judge.instance_features(after), real) - likeness(judge.instance_features(before), real)
        assert gain > least


@pytest.mark.timeout(400)
def test_a_style_is_carried_to_other_things(judges: dict[str, Judge], tmp_path: Path) -> None:
    folder = tmp_path / "style"
    write_folder(style_pictures(1, 12, seed=0, token="sks"), folder)
    out = trained(folder, tmp_path / "run", "optimizer.lr=1e-3")
    prompts = ["a red car on the beach, in sks style", "a blue cat in the forest, in sks style"]
    after, before = painted("maquette-64", out, prompts, 4), painted("maquette-64", None, prompts, 4)
    shown = torch.stack(
        [torch.from_numpy(np.array(picture.image)).permute(2, 0, 1) for picture in style_pictures(1, 12, seed=5)]
    )
    for judge in judges.values():
        real = judge.style_features(shown)
        assert likeness(judge.style_features(after), real) > likeness(judge.style_features(before), real) + 0.1


@pytest.mark.timeout(400)
def test_a_person_is_recognised(judges: dict[str, Judge], tmp_path: Path) -> None:
    folder = tmp_path / "face"
    write_folder(face_pictures(0, 6, seed=0, token="sks"), folder)
    out = trained(folder, tmp_path / "run")
    gender = held_out_face(0).gender
    after = painted(
        "maquette-64", out, [f"a photo of sks {gender} on the beach", f"a photo of sks {gender} in a room"], 4
    )
    before = painted(
        "maquette-64", None, [f"a photo of a {gender} on the beach", f"a photo of a {gender} in a room"], 4
    )
    unseen = renders(with_scene(held_out_face(0), 1000 + key, style="photo") for key in range(8))
    for judge in judges.values():
        real = judge.face_features(unseen)
        assert likeness(judge.face_features(after), real) > likeness(judge.face_features(before), real) + 0.1


@pytest.mark.timeout(400)
def test_class_images_keep_the_class_from_becoming_the_subject(judges: dict[str, Judge], tmp_path: Path) -> None:
    """Without them "a mug" becomes the mug that was learned; with them it stays what the base makes of it."""
    folder = tmp_path / "mug"
    write_folder(subject_pictures(SUBJECT, 5, seed=0), folder)
    learned = ["data.prompt=a photo of sks mug", "training.steps=60", "optimizer.lr=1e-3"]
    kept = ["class_images.prompt=a photo of a mug", "class_images.count=12", "class_images.steps=12"]
    runs = {
        "base": None,
        "alone": trained(folder, tmp_path / "alone", *learned),
        "kept": trained(folder, tmp_path / "kept", *learned, *kept),
    }
    of_class = {name: painted("maquette-64", run, ["a photo of a mug"], 8, 12) for name, run in runs.items()}
    of_subject = painted("maquette-64", runs["kept"], ["a photo of sks mug"], 4, 12)
    before = painted("maquette-64", None, ["a photo of sks mug"], 4, 12)
    unseen = renders(with_scene(held_out_subject(SUBJECT), 1000 + key, style="photo") for key in range(8))
    for judge in judges.values():
        real = judge.instance_features(unseen)
        like = {name: likeness(judge.instance_features(pictures), real) for name, pictures in of_class.items()}
        # Measured with two seeds: 0.26 to 0.50 above the base without them, 0.14 and more below it with them.
        assert like["alone"] > like["base"] + 0.15
        assert like["kept"] < like["base"] + 0.1
        subject = likeness(judge.instance_features(of_subject), real)
        assert subject > likeness(judge.instance_features(before), real) + 0.2
