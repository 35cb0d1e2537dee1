import pytest
import torch
from benchmarks.judge import pictures as renders
from benchmarks.judge import unseen_scenes

from maquette.errors import DataError
from maquette.evaluation.judges import load_judge
from maquette.evaluation.networks import Networks, by_size, judge_networks

ROLES = ("instance", "image", "style", "distribution")


@pytest.fixture(scope="module")
def networks() -> Networks:
    return judge_networks()


def noise(*sizes: tuple[int, int]) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=rng) for size in sizes]


@pytest.mark.parametrize("role", ROLES)
def test_pictures_of_any_sizes_keep_their_order(networks: Networks, role: str):
    pictures = noise((64, 64), (80, 48), (64, 64), (31, 90), (80, 48))
    together = getattr(networks, role).call(pictures)
    alone = torch.cat([getattr(networks, role).call([picture]) for picture in pictures])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)  # sums in fp32 depend on the batch
    torch.testing.assert_close(together.norm(dim=1), torch.ones(5))


def test_grouping_puts_every_row_back():
    sums = by_size(
        lambda stack: stack.float().sum((1, 2, 3))[:, None], pictures := noise((2, 3), (3, 2), (2, 3), (1, 1))
    )
    assert sums.flatten().tolist() == [picture.sum().item() for picture in pictures]


def test_the_judge_goes_by_its_own_name_and_its_weights_fingerprint(networks: Networks):
    other = judge_networks("verifier")
    for role in (*ROLES, "text", "face", "perceptual"):
        assert getattr(networks, role).name == "judge"
        assert getattr(other, role).name == "verifier"
        assert getattr(networks, role).fingerprint != getattr(other, role).fingerprint
    assert networks.image.fingerprint != networks.instance.fingerprint
    assert judge_networks().image.fingerprint == networks.image.fingerprint


def test_a_face_is_where_the_judge_reads_a_person(networks: Networks):
    judge, stack = load_judge(), renders(unseen_scenes(30))
    kinds, vectors = judge.read(stack).values["kind"], judge.face_features(stack)
    assert "person" in kinds
    faces = networks.face.call(list(stack))
    for kind, face, vector in zip(kinds, faces, vectors, strict=True):
        assert (face is not None) == (kind == "person")
        if face is not None:
            torch.testing.assert_close(face, vector)


def test_looks_differ_by_nothing_or_by_something(networks: Networks):
    ones, others = noise((64, 64), (70, 50), (64, 64)), noise((64, 64), (50, 70), (64, 64))
    torch.testing.assert_close(networks.perceptual.call(ones, ones), torch.zeros(3), rtol=0, atol=1e-6)
    there, back = networks.perceptual.call(ones, others), networks.perceptual.call(others, ones)
    torch.testing.assert_close(there, back)
    dark, light = torch.zeros(3, 64, 64, dtype=torch.uint8), torch.full((3, 64, 64), 255, dtype=torch.uint8)
    near = dark + 8
    distances = networks.perceptual.call([dark, dark], [near, light])
    assert 0 < distances[0] < distances[1] <= 2


def test_pictures_that_cannot_be_looked_at_are_refused(networks: Networks):
    with pytest.raises(DataError, match="no pictures"):
        networks.image.call([])
    with pytest.raises(DataError, match="2 pictures cannot be paired with 1"):
        networks.perceptual.call(noise((64, 64), (64, 64)), noise((64, 64)))
