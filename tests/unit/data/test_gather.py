from dataclasses import dataclass

import pytest

from maquette.config.schema import RunConfig
from maquette.data.gather import gather, held_out, training_sizes
from maquette.data.sample import Sample
from maquette.errors import ConfigError, DataError


@dataclass
class Shapes:
    """What a family says of sizes."""

    default_size: tuple[int, int]
    size_multiple: int = 8
    latent_factor: int = 8


def sample(i: int, **fields) -> Sample:
    return Sample(f"{i}.png", "a", (64, 64), digest=f"digest {i}", **fields)


def test_concepts_keep_their_words_and_class_images(tmp_path, paint):
    paint("dog/a.png", seed=1)
    paint("cat/b.png", seed=2)
    paint("cats/c.png", seed=3)
    config = RunConfig.model_validate(
        {
            "concepts": [
                {"folder": tmp_path / "dog", "prompt": "a photo of [trigger]", "trigger": "sks dog", "repeats": 3},
                {
                    "folder": tmp_path / "cat",
                    "prompt": "a zwx cat",
                    "class_folder": tmp_path / "cats",
                    "class_prompt": "a cat",
                },
            ],
            "class_images": {},
        }
    )
    assert [(s.name, s.caption, s.concept, s.repeats, s.is_class) for s in gather(config).usable()] == [
        ("a.png", "a photo of sks dog", 0, 3, False),
        ("b.png", "a zwx cat", 1, 1, False),
        ("c.png", "a cat", 1, 1, True),
    ]


def test_generated_class_images_are_read_from_where_they_were_made(tmp_path, paint):
    paint("photos/a.png", seed=1)
    paint("made/b.png", seed=2)
    config = RunConfig.model_validate(
        {"data": {"folder": tmp_path / "photos", "prompt": "sks dog"}, "class_images": {"prompt": "a dog"}}
    )
    assert len(gather(config).samples) == 1
    _, made = gather(config, class_folders=[tmp_path / "made"]).usable()
    assert (made.name, made.caption, made.is_class) == ("b.png", "a dog", True)


def test_no_pictures_named():
    with pytest.raises(ConfigError, match="give a folder"):
        gather(RunConfig())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"size": [64, 96], "buckets": False}, ((64, 96),)),
        ({"resolution": 128, "buckets": False}, ((128, 128),)),
        ({"buckets": False}, ((48, 80),)),
    ],
)
def test_sizes_without_buckets(data, expected):
    config = RunConfig.model_validate({"data": data})
    assert training_sizes(config.data, Shapes((48, 80))) == expected


def test_sizes_with_buckets_take_the_bases_area_unless_told():
    assert (512, 512) in training_sizes(RunConfig().data, Shapes((512, 512)))
    told = RunConfig.model_validate({"data": {"resolution": 256}})
    assert (256, 256) in training_sizes(told.data, Shapes((512, 512)))


def test_a_base_without_positions_is_shown_squares_since_its_encoder_cuts_them():
    prior = Shapes((224, 224), size_multiple=1, latent_factor=0)
    assert training_sizes(RunConfig().data, prior) == ((224, 224),)
    told = RunConfig.model_validate({"data": {"resolution": 512}})
    assert training_sizes(told.data, prior) == ((512, 512),)


def test_holding_out_keeps_one_on_either_side_and_moves_no_other_when_pictures_come_and_go():
    samples = [sample(i) for i in range(10)] + [sample(99, is_class=True)]
    trained, held = held_out(samples, 0.3)
    assert len(held) == 3
    assert set(trained) | set(held) == set(samples)
    assert samples[-1] in trained
    _, held_of_fewer = held_out([s for s in samples if s not in held[:1]], 0.3)
    assert set(held[1:]) <= set(held_of_fewer)
    two = [sample(i) for i in range(2)]
    assert [len(part) for part in held_out(two, 0.01)] == [1, 1]
    assert [len(part) for part in held_out(two, 0.5)] == [1, 1]


def test_copies_of_a_picture_are_held_out_together():
    samples = [sample(i // 2) for i in range(12)]
    trained, held = held_out(samples, 0.3)
    assert {s.digest for s in trained}.isdisjoint({s.digest for s in held})


def test_a_single_picture_cannot_be_held_out():
    with pytest.raises(DataError, match="only one"):
        held_out([sample(0), sample(1, is_class=True)], 0.1)
