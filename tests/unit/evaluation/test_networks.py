import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from benchmarks.judge import pictures as renders
from benchmarks.judge import unseen_scenes
from safetensors.torch import load_file, save_file
from tests.unit.evaluation import nets
from tests.unit.evaluation.nets import noise, write_pickled
from tests.unit.evaluation.test_lpips import folder_of

from maquette.config.load import load_networks
from maquette.config.networks import NetworksConfig
from maquette.errors import ConfigError, DataError, MaquetteError
from maquette.evaluation.inception import Inception
from maquette.evaluation.judges import load_judge
from maquette.evaluation.networks import Networks, by_size, check_networks, judge_networks, open_networks

ROLES = ("instance", "image", "style", "distribution")


@pytest.fixture(scope="module")
def networks() -> Networks:
    return judge_networks()


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


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("networks")
    for kind in (nets.clip, nets.vit, nets.dinov2):
        kind(root / kind.__name__)
    save_file(nets.random_weights(Inception().state_dict()), root / "inception.safetensors")
    folder_of("alex", root / "lpips")
    return root


def test_every_role_is_what_the_settings_name(folders: Path):
    names = {"image": "clip", "instance": "vit", "style": "clip", "perceptual": "lpips"}
    paths = {role: str(folders / name) for role, name in names.items()}
    paths["distribution"] = str(folders / "inception.safetensors")
    found = open_networks(NetworksConfig(**paths, face="verifier", device="cpu"))
    assert {role: getattr(found, role).name for role in (*ROLES, "text", "perceptual", "face", "distribution_64")} == {
        "instance": "ViT-32/8 (vit)",
        "image": "CLIP ViT-32/8 (clip)",
        "text": "CLIP ViT-32/8 (clip)",
        "style": "CLIP ViT-32/8 (clip)",
        "face": "verifier",
        "perceptual": "LPIPS alex (lpips)",
        "distribution": "Inception 2048 (inception.safetensors)",
        "distribution_64": "Inception 64 (inception.safetensors)",
    }
    pictures = noise((40, 40), (64, 50))
    assert found.distribution.call(pictures).shape == (2, 2048)
    assert found.distribution_64.call(pictures).shape == (2, 64)
    for unit in (found.instance.call(pictures), found.style.call(pictures), found.text.call(["red", "a mug"])):
        torch.testing.assert_close(unit.norm(dim=1), torch.ones(2))
    assert torch.equal(found.style.call(pictures), found.image.call(pictures))
    assert found.perceptual.call(pictures, pictures).tolist() == [0, 0]
    prints = [getattr(found, role).fingerprint for role in ("instance", "image", "text", "distribution", "perceptual")]
    assert len(set(prints)) == 5
    assert found.style.fingerprint == found.image.fingerprint


def test_other_networks_serve_distributions_as_they_are(folders: Path):
    found = open_networks(NetworksConfig(distribution=str(folders / "dinov2"), instance=str(folders / "dinov2")))
    pictures = noise((40, 40), (64, 50))
    assert found.distribution == found.distribution_64
    assert not torch.allclose(found.distribution.call(pictures).norm(dim=1), torch.ones(2))
    assert found.distribution.fingerprint != found.instance.fingerprint  # one is of unit vectors
    assert found.image.name == "judge"


MISTAKES = {
    "no such folder": ({"image": "./nothing"}, r'image = "./nothing": there is no such file or folder.*"judge"'),
    "no such file": ({"perceptual": "nets/alex.pth"}, "perceptual = .* no such file"),
    "a hub id offline": ({"instance": "someone/nothing"}, "could not be fetched from the hub.*give a folder"),
    "no such device": ({"device": "tpu"}, 'device = "tpu": there is no such device'),
    "fp16 on a CPU": ({"device": "cpu", "precision": "fp16"}, "needs a GPU"),
}


@pytest.mark.parametrize("asked", [open_networks, check_networks])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_had_is_said_with_its_cure(mistake: str, asked: Callable[[NetworksConfig], object]):
    settings, message = MISTAKES[mistake]
    with pytest.raises(MaquetteError, match=message):
        asked(NetworksConfig(**settings))


def test_a_cached_hub_model_with_pickled_weights_is_read_without_a_network(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    cached, commit = tmp_path / "models--someone--small", "0123456789abcdef0123456789abcdef01234567"
    snapshot = Path(shutil.copytree(folders / "clip", cached / "snapshots" / commit))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    weights = load_file(snapshot / "model.safetensors")
    (snapshot / "model.safetensors").unlink()
    write_pickled(snapshot / "pytorch_model.bin", weights)
    found = open_networks(NetworksConfig(image="someone/small")).image
    assert found.name == "CLIP ViT-32/8 (someone/small)"
    local = open_networks(NetworksConfig(image=str(folders / "clip"))).image
    assert found.fingerprint == local.fingerprint


def test_a_file_of_its_own_names_networks(folders: Path):
    file = folders / "networks.toml"
    file.write_text('image = "clip"\ninstance = "facebook/dino-vits16"\nprecision = "bf16"\n')
    config = load_networks(file)
    assert config == NetworksConfig(image=str(folders / "clip"), instance="facebook/dino-vits16", precision="bf16")
    file.write_text('images = "clip"\n')
    with pytest.raises(ConfigError, match="images is not"):
        load_networks(file)
