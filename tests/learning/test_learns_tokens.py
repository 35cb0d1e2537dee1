"""Something is learned: a subject as new tokens, and nothing but the subject, as the judges see it.

The judge's instance, style and face encoders compare pictures with renders of the same held-out subject that training
did not see; the verifier, trained apart, must agree. Thresholds lie well below what was measured, and above noise.
"""

from pathlib import Path

import pytest
from tests.learning.learned import PLACES, SUBJECT, likeness, painted, trained, unseen

from maquette.embedded.folders import subject_pictures, write_folder
from maquette.evaluation.judge import Judge


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
    for judge in judges.values():
        real = judge.instance_features(unseen())
        gain = likeness(judge.instance_features(after), real) - likeness(judge.instance_features(before), real)
        assert gain > least


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
    for judge in judges.values():
        real = judge.instance_features(unseen())
        like = {name: likeness(judge.instance_features(pictures), real) for name, pictures in of_class.items()}
        # Measured with two seeds: 0.26 to 0.50 above the base without them, 0.14 and more below it with them.
        assert like["alone"] > like["base"] + 0.15
        assert like["kept"] < like["base"] + 0.1
        subject = likeness(judge.instance_features(of_subject), real)
        assert subject > likeness(judge.instance_features(before), real) + 0.2
