from dataclasses import fields, replace

import pytest
import torch
from tests.unit.evaluation.fakes import fake_networks, fake_set, picture

from maquette.data.cache import Cache
from maquette.evaluation.cache import Memory, remembering
from maquette.evaluation.metrics import METRICS
from maquette.evaluation.networks import Named, Networks


def counting(networks: Networks, asked: list[int]) -> Networks:
    """The same networks, which note how many pictures, texts or pairs they are asked for."""

    def counted(network: Named) -> Named:
        def call(*items):
            asked.append(len(items[0]))
            return network.call(*items)

        return replace(network, call=call)

    return Networks(**{field.name: counted(getattr(networks, field.name)) for field in fields(networks)})


def test_every_metric_is_the_same_with_a_memory():
    pictures = fake_set()
    remembered = remembering(fake_networks(), Memory())
    for metric in METRICS.values():
        assert metric(remembered)(pictures) == metric(fake_networks())(pictures)


def test_each_picture_is_looked_at_once_by_each_network_and_once_more_when_it_changes():
    asked: list[int] = []
    networks = remembering(counting(fake_networks(), asked), Memory())
    one, two = picture(1), picture(2)
    first = networks.instance.call([one, two, one.clone()])
    assert asked == [2]
    assert torch.equal(first[0], first[2])
    assert torch.equal(networks.style.call([two]), first[1:2])  # another role, the same network
    assert asked == [2]
    changed = one.clone()
    changed[0, 0, 0] += 1
    networks.image.call([one, changed, two])
    assert asked == [2, 1]
    assert (
        networks.perceptual.call([one, one], [two, two]).tolist() == networks.perceptual.call([one], [two]).tolist() * 2
    )
    assert asked == [2, 1, 1]


def test_pictures_with_the_same_bytes_and_another_shape_are_others():
    asked: list[int] = []
    networks = remembering(counting(fake_networks(), asked), Memory())
    tall = picture(1).reshape(3, 16, 4)
    assert not torch.equal(networks.image.call([picture(1)]), networks.image.call([tall]))
    assert asked == [1, 1]


def test_missing_faces_are_remembered_as_missing():
    faces = [torch.tensor([1.0, 0.0]), None]
    fake = fake_networks()
    asked: list[int] = []
    found = replace(fake.face, call=lambda pictures: faces[: len(pictures)])
    networks = remembering(counting(replace(fake, face=found), asked), Memory())
    for _ in range(2):
        one, none = networks.face.call([picture(1), picture(2)])
        assert none is None
        assert torch.equal(one, faces[0])
    assert asked == [2]


def test_a_second_run_asks_nothing_and_another_network_everything(tmp_path):
    pictures = fake_set()

    def run(networks: Networks) -> tuple[list, list[int]]:
        asked: list[int] = []
        remembered = remembering(counting(networks, asked), Memory(Cache(tmp_path, ram_limit=0)))
        return [metric(remembered)(pictures) for metric in METRICS.values()], asked

    first, asked = run(fake_networks())
    assert asked
    again, none = run(fake_networks())
    assert again == first
    assert none == []
    fake = fake_networks()
    _, anew = run(replace(fake, instance=replace(fake.instance, fingerprint="other")))
    assert anew


def test_a_damaged_file_is_computed_again_and_named(tmp_path):
    memory = Memory(Cache(tmp_path, ram_limit=0))
    expected = remembering(fake_networks(), memory).image.call([picture(1)])
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    file.write_bytes(file.read_bytes()[:-3])
    memory = Memory(Cache(tmp_path, ram_limit=0))
    assert torch.equal(remembering(fake_networks(), memory).image.call([picture(1)]), expected)
    assert memory.files.repaired == [file]


def test_what_a_network_refuses_is_refused_and_not_remembered():
    networks = remembering(fake_networks(), Memory())
    with pytest.raises(ValueError, match="shorter"):
        networks.perceptual.call([picture(1)], [])
    with pytest.raises(RuntimeError, match="non-empty"):
        networks.image.call([])
