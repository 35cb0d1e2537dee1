"""Something is learned: each method carries a subject to places it was never shown in, as the judges see it.

The judge's instance, style and face encoders compare pictures with renders of the same held-out subject that training
did not see; the verifier, trained apart, must agree. Thresholds lie well below what was measured, and above noise.
"""

from pathlib import Path

import numpy as np
import pytest
from tests.learning.learned import PLACES, SUBJECT, likeness, painted, trained, unseen

from maquette.embedded.folders import subject_pictures, write_folder
from maquette.evaluation.judge import Judge


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "mug"
    write_folder(subject_pictures(SUBJECT, 5, seed=0, token="sks"), folder)
    return folder


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
    out = trained(photos, tmp_path / method, "training.steps=150", *METHODS[method])
    prompts = [f"a photo of sks mug {phrase}" for phrase in PLACES.values()]
    plain = [f"a photo of a mug {phrase}" for phrase in PLACES.values()]
    base = out / "export" / "model" if method == "full" else None
    after = painted(str(base or "maquette-64"), None if base else out, prompts, steps=15)
    before = painted("maquette-64", None, plain, steps=15)
    for judge in judges.values():
        real = judge.instance_features(unseen())
        gain = likeness(judge.instance_features(after), real) - likeness(judge.instance_features(before), real)
        assert gain > 0.4
        places = [place for place in PLACES for _ in range(2)]
        kept = np.mean([said == place for said, place in zip(judge.read(after).values["place"], places, strict=True)])
        assert kept >= 0.5


@pytest.mark.timeout(400)
def test_a_subject_is_learned_at_the_noise_levels_and_with_the_weights_of_edm(
    photos: Path, judges: dict[str, Judge], tmp_path: Path
) -> None:
    settings = ["training.steps=80", "optimizer.lr=1e-3"]
    out = trained(photos, tmp_path / "run", *settings, preset="maquette64-subject-lora-edm")
    after = painted("maquette-64", out, [f"a photo of sks mug {phrase}" for phrase in PLACES.values()], 2, 12)
    before = painted("maquette-64", None, [f"a photo of a mug {phrase}" for phrase in PLACES.values()], 2, 12)
    for judge in judges.values():
        real = judge.instance_features(unseen())
        gain = likeness(judge.instance_features(after), real) - likeness(judge.instance_features(before), real)
        assert gain > 0.15
