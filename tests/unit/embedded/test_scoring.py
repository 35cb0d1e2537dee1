import pytest
import torch
from benchmarks.judge import pictures, unseen_scenes

from maquette.embedded.captions import caption
from maquette.embedded.keys import rng_for
from maquette.embedded.scoring import score_prompts, share_right
from maquette.errors import DataError
from maquette.evaluation.judges import load_judge

SCENES = unseen_scenes(60)


def test_true_captions_are_found_right_and_those_of_strangers_mostly_wrong():
    judge, images = load_judge("judge"), pictures(SCENES)
    texts = [caption(scene, rng_for("scoring", number)) for number, scene in enumerate(SCENES)]
    own = share_right(score_prompts(judge, images, texts))
    strangers = share_right(score_prompts(judge, images, [*texts[7:], *texts[:7]]))
    assert set(own) == {"kind", "place", "style", "colour", "pattern"}
    assert min(own[name] for name in ("kind", "place", "style", "colour")) > 0.9  # 60 pictures: one is 1.7 %
    assert max(strangers[name] for name in ("kind", "place", "style", "colour")) < 0.4


def test_only_claims_count_and_those_outside_the_judge_s_words_are_named():
    scene = next(scene for scene in SCENES if scene.place == "beach" and scene.style == "photo")
    (verdict,) = score_prompts(load_judge("judge"), pictures([scene]), ["a neon umbrella on the beach"])
    assert verdict.right == {"place": True}
    assert verdict.unread == {"kind": "umbrella", "style": "neon"}


def test_as_many_prompts_as_pictures_or_none():
    with pytest.raises(DataError, match="2 pictures but 1 prompts"):
        score_prompts(load_judge("judge"), torch.zeros(2, 3, 64, 64, dtype=torch.uint8), ["a mug"])
