"""Scores on disk: what is written is what is read, and no score is never a number."""

import json
import math

import pytest

from maquette.errors import DataError
from maquette.runs.scores import (
    Difference,
    Evaluation,
    Measured,
    Scores,
    Shot,
    StrengthRange,
    read_scores,
    write_scores,
)

SCORE = Measured("subject_fidelity", 0.5, 0.4, 0.6, "higher", 4, "judge", ("few pictures",), {"mug": 0.5, "cup": 0.25})
SHOT = Shot("pictures/a.png", "a [subject]", "a sks mug", "a mug", 3, "mug", {"subject_fidelity": 0.5})
SCORES = Scores(
    "world",
    "About.",
    ("judge",),
    (Evaluation("one", (SCORE,), (SHOT,), 0.5, {"total": 0.4}), Evaluation("two", (SCORE,), ())),
    (Difference("two", "one", "subject_fidelity", 0.0, -0.1, 0.1, "equal within noise", is_paired=True),),
    StrengthRange(0.6, 1.0, "From 0.6 to 1.", is_met=True),
    ("few pictures",),
    "mug",
)


def test_scores_are_read_as_they_were_written(tmp_path):
    write_scores(tmp_path / "scores.json", SCORES)
    assert read_scores(tmp_path / "scores.json") == SCORES


def test_no_score_is_null_in_the_file_and_not_a_number_when_read(tmp_path):
    nothing = Measured("face_distance", math.nan, math.nan, math.nan, None, 0, "")
    faceless = Scores("world-face", "", (), (Evaluation("one", (nothing,), ()),))
    write_scores(tmp_path / "scores.json", faceless)
    stored = json.loads((tmp_path / "scores.json").read_text())["evaluations"][0]["scores"][0]
    assert (stored["value"], stored["better"]) == (None, None)
    found = read_scores(tmp_path / "scores.json").evaluations[0].score("face_distance")
    assert math.isnan(found.value)
    assert not found.is_score


@pytest.mark.parametrize("text", ["", "{", "[]", '{"suite": 3}', '{"format": 9}'])
def test_a_damaged_file_is_named_with_the_cure(tmp_path, text):
    (tmp_path / "scores.json").write_text(text)
    with pytest.raises(DataError, match=r"scores\.json: .*Evaluate again"):
        read_scores(tmp_path / "scores.json")


def test_another_version_is_told(tmp_path):
    write_scores(tmp_path / "scores.json", SCORES)
    text = (tmp_path / "scores.json").read_text().replace('"format": 1', '"format": 2')
    (tmp_path / "scores.json").write_text(text)
    with pytest.raises(DataError, match="format 2, but this version reads 1"):
        read_scores(tmp_path / "scores.json")
