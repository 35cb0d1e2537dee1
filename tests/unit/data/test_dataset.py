"""Batches of a small family whose codes can be computed by hand from the pictures themselves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from maquette.config.schema import RunConfig
from maquette.data.dataset import Dataset, build
from maquette.data.gather import gather
from maquette.errors import DataError, ModelError

CPU = torch.device("cpu")


def made(family, cache: Path | None = None, **config) -> Dataset:
    run = RunConfig.model_validate(config)
    return build(run, gather(run).usable(), family, cache, CPU)


@pytest.fixture
def folder(tmp_path, paint) -> Path:
    """Six pictures, each of one grey of its own that its caption names."""
    (tmp_path / "pictures").mkdir()
    for i in range(6):
        Image.new("RGB", (64, 64), (40 * i,) * 3).save(tmp_path / f"pictures/{i}.png")
        (tmp_path / f"pictures/{i}.txt").write_text(f"grey {i}")
    return tmp_path / "pictures"


def expected_code(grey: int) -> float:
    return 2.0 * (grey / 127.5 - 1)  # the weight of the family's encoder is 2


def text_of(context: Tensor) -> str:
    """The caption back from its embedding: the first column of row i of the table is 4 i / 512."""
    return "".join(chr(round(value * 128)) for value in context[:, 0].tolist()).rstrip()


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_code_and_caption_are_of_the_same_picture_in_every_epoch(folder, family, cached, batch_size):
    data = made(
        family, data={"folder": folder, "cache": {"latents": cached}}, training={"batch_size": batch_size, "seed": 3}
    )
    seen = []
    for step in range(18):
        (batch,) = data.batches_at(step)
        for mean, context, name in zip(batch.code.mean, batch.code.cond["context"], data.names_at(step), strict=True):
            i = int(name[0])
            # float32 arithmetic on values of about 1
            torch.testing.assert_close(mean, torch.full_like(mean, expected_code(40 * i)), rtol=0, atol=1e-5)
            assert text_of(context) == f"grey {i}"
            seen.append(i)
    assert set(seen) == set(range(6))
    assert seen != sorted(seen)


def test_step_is_a_function_of_the_step_alone(folder, family, tmp_path):
    settings = {
        "data": {"folder": folder, "flip": True, "crop": "random", "resolution": 64, "captions": {"dropout": 0.3}},
        "training": {"batch_size": 4, "seed": 1},
    }
    once, again = made(family, tmp_path / "a", **settings), made(family, **settings)
    for step in (5, 0, 3, 5):
        (first,), (second,) = once.batches_at(step), again.batches_at(step)
        assert torch.equal(first.code.mean, second.code.mean)
        assert first.code.cond.keys() == second.code.cond.keys() == {"time_ids", "context"}
        assert all(torch.equal(first.code.cond[name], second.code.cond[name]) for name in first.code.cond)


def test_a_caption_that_is_kept_is_tokenized_once(folder, family, monkeypatch):
    data = made(family, data={"folder": folder}, training={"batch_size": 4})
    data.prepare()
    before = [data.batches_at(step)[0].code.cond["context"] for step in range(3)]
    monkeypatch.setattr(family, "tokenize", None)
    after = [data.batches_at(step)[0].code.cond["context"] for step in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_after_prepare_nothing_is_encoded_any_more_even_by_another_run(folder, family, tmp_path):
    settings = {"data": {"folder": folder, "flip": True, "captions": {"dropout": 0.5}}, "training": {"batch_size": 4}}
    data = made(family, tmp_path / "cache", **settings)
    told = []
    data.prepare(lambda done, total, _name: told.append((done, total)))
    # Six pictures in two views; six captions and the empty one.
    assert (len(family.encoded), family.embedded) == (12, 7)
    assert told == [(i, 19) for i in range(1, 20)]
    for step in range(20):
        data.batches_at(step)
    made(family, tmp_path / "cache", **settings).prepare()
    assert (len(family.encoded), family.embedded) == (12, 7)
    assert not data.needs_image_encoder
    assert not data.needs_text_encoder


def test_an_edited_picture_alone_is_encoded_again(folder, family, tmp_path):
    settings = {"data": {"folder": folder}}
    made(family, tmp_path / "cache", **settings).prepare()
    Image.new("RGB", (64, 64), (255, 255, 255)).save(folder / "2.png")
    family.encoded.clear()
    data = made(family, tmp_path / "cache", **settings)
    data.prepare()
    assert len(family.encoded) == 1
    mean = data.still(2).code.mean
    torch.testing.assert_close(mean, torch.full_like(mean, expected_code(255)))


def test_another_encoder_reads_nothing_from_the_cache(folder, family, tmp_path):
    made(family, tmp_path / "cache", data={"folder": folder}).prepare()
    with torch.no_grad():
        family.vae.weight.fill_(3.0)
    family.encoded.clear()
    made(family, tmp_path / "cache", data={"folder": folder}).prepare()
    assert len(family.encoded) == 6


def test_each_picture_tells_its_own_geometry_class_images_too(tmp_path, paint, family):
    paint("photos/wide.png", (80, 200), seed=1)
    paint("class/tall.png", (160, 100), seed=2)
    data = made(
        family,
        data={"folder": tmp_path / "photos", "prompt": "sks dog", "resolution": 64, "buckets": False},
        class_images={"folder": tmp_path / "class", "prompt": "a dog", "weight": 0.5},
        training={"batch_size": 1},
    )
    (batch,) = data.batches_at(0)
    # 80 x 200 becomes 64 x 160: 96 columns too many; 160 x 100 becomes 102 x 64: 38 rows too many.
    assert batch.code.cond["time_ids"].tolist() == [[80, 200, 0, 48, 64, 64], [160, 100, 19, 0, 64, 64]]
    assert [text_of(context) for context in batch.code.cond["context"]] == ["sks dog", "a dog"]
    assert batch.weight.tolist() == [1.0, 0.5]
    assert data.names_at(0) == ["wide.png", "tall.png"]


@pytest.mark.parametrize("cached", [True, False])
def test_cuts_and_flips_vary_with_and_without_cache(tmp_path, paint, family, cached):
    paint("photos/a.png", (64, 200))
    data = made(
        family,
        data={
            "folder": tmp_path / "photos",
            "prompt": "sks",
            "resolution": 64,
            "buckets": False,
            "crop": "random",
            "flip": True,
            "cache": {"latents": cached},
        },
        training={"batch_size": 1},
    )
    lefts = {data.batches_at(step)[0].code.cond["time_ids"][0, 3].item() for step in range(40)}
    means = {tuple(data.batches_at(step)[0].code.mean.flatten().tolist()) for step in range(40)}
    assert len(lefts) >= 6
    assert len(means) >= 7
    assert data.needs_image_encoder is not cached


def test_flipped_codes_are_those_of_the_mirrored_picture(tmp_path, paint, family):
    values = np.asarray(Image.open(paint("photos/a.png")))
    data = made(family, data={"folder": tmp_path / "photos", "prompt": "sks", "flip": True}, training={"batch_size": 1})
    expected = []
    for shown in (values, values[:, ::-1]):
        blocks = shown.astype(np.float64).reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))
        expected.append(torch.tensor(2 * (blocks / 127.5 - 1)).permute(2, 0, 1).float())
    for step in range(10):
        mean = data.batches_at(step)[0].code.mean[0]
        # sums of 64 float32 numbers
        assert any(torch.allclose(mean, one, atol=1e-5) for one in expected)


def test_trained_text_travels_as_tokens_dropped_and_shuffled_but_never_for_class_images(tmp_path, paint, family):
    paint("photos/a.png", seed=1)
    paint("class/b.png", seed=2)
    data = made(
        family,
        data={"folder": tmp_path / "photos", "prompt": "sks, x, y", "captions": {"dropout": 0.4, "shuffle": True}},
        class_images={"folder": tmp_path / "class", "prompt": "p, q, r"},
        text_encoder={"train": "lora"},
        training={"batch_size": 1},
    )
    texts = [[], []]
    for step in range(60):
        (batch,) = data.batches_at(step)
        assert batch.code.cond.keys() == {"time_ids"}
        for kind, ids in zip(texts, batch.tokens["ids"].tolist(), strict=True):
            kind.append("".join(map(chr, ids)).rstrip())
    assert set(texts[1]) == {"p, q, r"}
    assert {tuple(sorted(text.split(", "))) for text in texts[0]} == {("",), ("sks", "x", "y")}
    assert len(set(texts[0])) == 7  # six orders, and none
    assert data.needs_text_encoder
    assert family.embedded == 0


def test_shuffled_captions_of_a_frozen_encoder_are_embedded_as_they_come(folder, family, tmp_path):
    (folder / "0.txt").write_text("a, b, c, d")
    data = made(
        family, tmp_path / "c", data={"folder": folder, "captions": {"shuffle": True}}, training={"batch_size": 6}
    )
    data.prepare()
    assert family.embedded == 0
    texts = {text_of(c) for step in range(8) for c in data.batches_at(step)[0].code.cond["context"]}
    assert len([text for text in texts if "," in text]) >= 5


def test_masks_follow_the_view_and_pictures_without_one_count_whole(tmp_path, paint, family):
    paint("photos/a.png", (64, 128), seed=1)
    paint("photos/b.png", (64, 128), seed=2)
    mask = np.zeros((64, 128), dtype=np.uint8)
    mask[:, 64:] = 255
    Image.fromarray(mask).save(tmp_path / "photos/a-masklabel.png")
    settings = {"folder": tmp_path / "photos", "prompt": "sks", "masks": "label", "resolution": 64, "buckets": False}
    data = made(family, data=settings | {"flip": True}, training={"batch_size": 2})
    seen = set()
    for step in range(12):
        (batch,) = data.batches_at(step)
        assert batch.mask is not None
        assert batch.mask.shape == (2, 1, 8, 8)
        for name, one, numbers in zip(data.names_at(step), batch.mask[:, 0], batch.code.cond["time_ids"], strict=True):
            assert numbers.tolist() == [64, 128, 0, 32, 64, 64]
            seen.add((name, tuple(one[0].tolist())))
            assert torch.equal(one, one[:1].expand(8, 8))
    left, right = (1.0,) * 4 + (0.0,) * 4, (0.0,) * 4 + (1.0,) * 4
    assert seen == {("a.png", right), ("a.png", left), ("b.png", (1.0,) * 8)}


def test_a_mask_that_the_cut_leaves_out_is_named_before_training(tmp_path, paint, family):
    paint("photos/a.png", (64, 192), seed=1)
    mask = np.zeros((64, 192), dtype=np.uint8)
    mask[:, :20] = 255
    Image.fromarray(mask).save(tmp_path / "photos/a-masklabel.png")
    settings = {"folder": tmp_path / "photos", "prompt": "sks", "masks": "label", "resolution": 64, "buckets": False}
    with pytest.raises(DataError, match=r"a\.png: cropping to 64x64 leaves nothing of its mask"):
        made(family, data=settings).prepare()


def test_codes_that_are_not_finite_name_the_picture_and_the_cure(folder, family):
    with torch.no_grad():
        family.vae.weight.fill_(float("inf"))
    with pytest.raises(ModelError, match=r"\.png: its code is not finite \(mean\).*model\.precision"):
        made(family, data={"folder": folder}).prepare()


def test_files_that_change_between_scan_and_encoding_are_all_named(folder, family):
    data = made(family, data={"folder": folder})
    for name in ("1.png", "4.png"):
        Image.new("RGB", (64, 64), (1, 2, 3)).save(folder / name)
    with pytest.raises(DataError, match=r"1\.png: was changed(.|\n)*4\.png: was changed"):
        data.prepare()


def test_buckets_split_a_step_by_size_and_keep_its_weights(tmp_path, paint, family):
    paint("photos/a.png", (80, 80), seed=1)
    paint("photos/b.png", (64, 128), seed=2)
    data = made(
        family, data={"folder": tmp_path / "photos", "prompt": "sks", "resolution": 64}, training={"batch_size": 2}
    )
    batches = data.batches_at(0)
    assert {tuple(batch.code.mean.shape[-2:]) for batch in batches} == {(8, 8), (6, 10)}
    assert [batch.weight.tolist() for batch in batches] == [[1.0], [1.0]]
