"""Something is learned: styles and people, as the judges see it.

The judge's instance, style and face encoders compare pictures with renders of the same held-out subject that training
did not see; the verifier, trained apart, must agree. Thresholds lie well below what was measured, and above noise.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.learning.learned import likeness, painted, renders, trained

from maquette.embedded.folders import face_pictures, style_pictures, write_folder
from maquette.embedded.scene import held_out_face, with_scene
from maquette.evaluation.judge import Judge


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
