from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from maquette.data.cache import Cache, fingerprint, key_of
from maquette.errors import DataError


def entry(value: float = 1.0) -> dict[str, Tensor]:
    return {
        "mean": torch.full((1, 4, 2, 2), value),
        "ids": torch.arange(3),
        "half": torch.ones(2, dtype=torch.bfloat16),
    }


def assert_same(got: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, rtol=0, atol=0)


def never() -> dict[str, Tensor]:
    pytest.fail("it was computed although it is kept")


@pytest.fixture
def key() -> str:
    return key_of("image", {"picture": "ab", "size": (64, 64)})


@pytest.mark.parametrize("ram_limit", [0, 2**30])
def test_computed_once_and_read_back_exactly(tmp_path, key, ram_limit):
    cache = Cache(tmp_path, ram_limit=ram_limit)
    assert_same(cache.get(key, entry), entry())
    assert_same(cache.get(key, never), entry())
    assert_same(Cache(tmp_path).get(key, never), entry())
    assert cache.computed == 1


def test_without_folder_it_is_kept_in_memory_up_to_the_limit(key):
    cache = Cache(None)
    cache.get(key, entry)
    assert_same(cache.get(key, never), entry())
    small = Cache(None, ram_limit=10)
    small.get(key, entry)
    small.get(key, entry)
    assert small.computed == 2


@pytest.mark.parametrize("damage", ["flipped bit", "cut", "empty", "not safetensors", "another's entry"])
def test_damaged_files_are_recomputed_rewritten_and_reported(tmp_path, key, damage):
    Cache(tmp_path).get(key, entry)
    (path,) = tmp_path.rglob("*.safetensors")
    data = path.read_bytes()
    other = tmp_path / "other"
    Cache(other).get(key_of("image", {"picture": "another"}), lambda: entry(2.0))
    damaged = {
        "flipped bit": data[:-1] + bytes([data[-1] ^ 1]),
        "cut": data[: len(data) // 2],
        "empty": b"",
        "not safetensors": b"\xff" * 100,
        # Another entry under this name is intact by its own hash; only its key says that it does not belong here.
        "another's entry": next(other.rglob("*.safetensors")).read_bytes(),
    }
    path.write_bytes(damaged[damage])
    cache = Cache(tmp_path)
    assert_same(cache.get(key, entry), entry())
    assert cache.repaired == [path]
    assert path.read_bytes() == data


def test_nothing_half_written_is_left_behind(tmp_path, key):
    Cache(tmp_path).get(key, entry)
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".safetensors"]
    assert not list((tmp_path / key[:2]).glob("*.tmp"))


def test_a_folder_that_cannot_be_written_names_the_cure(tmp_path, key):
    (tmp_path / key[:2]).write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"cannot be written .*data\.cache\.dir"):
        Cache(tmp_path).get(key, entry)


def test_every_fact_changes_the_key():
    facts = {"picture": "ab", "size": (64, 64), "flip": False, "encoder": "e"}
    changed = [
        {**facts, "picture": "ac"},
        {**facts, "size": (64, 72)},
        {**facts, "flip": True},
        {**facts, "encoder": "f"},
    ]
    keys = {key_of("image", facts), key_of("text", facts), *(key_of("image", other) for other in changed)}
    assert len(keys) == 6
    assert key_of("image", dict(reversed(facts.items()))) == key_of("image", facts)


class Configured(nn.Linear):
    def __init__(self, **config: object) -> None:
        super().__init__(2, 2)
        self.config = config
        nn.init.constant_(self.weight, 0.5)
        nn.init.zeros_(self.bias)


def test_fingerprint_follows_weights_precision_settings_and_facts_but_not_places():
    def of(module: nn.Module, **facts: str) -> str:
        return fingerprint({"vae": module}, facts)

    base = of(Configured(scaling_factor=0.18, _name_or_path="here"))
    assert of(Configured(scaling_factor=0.18, _name_or_path="there")) == base
    changed = Configured(scaling_factor=0.18)
    with torch.no_grad():
        changed.weight[0, 0] += 1e-6
    others = [of(changed), of(Configured(scaling_factor=0.18).half()), of(Configured(scaling_factor=0.13))]
    others.append(of(Configured(scaling_factor=0.18), family="sd"))
    assert len({base, *others}) == 5
