"""torch and Python's own pickle write the files here; they are the oracle, and the only place where they are used."""

import collections
import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics

from maquette.errors import ModelError
from maquette.families.pickled import pickled_tensors, read_pickled

HEADS = Path(torchmetrics.__file__).parent / "functional/image/lpips_models"


def state() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    kinds = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8)
    tensors = {str(kind): (10 * torch.randn(2, 3, generator=rng)).to(kind) for kind in kinds}
    shared = torch.randn(4, 5, generator=rng)
    return tensors | {
        "true": torch.tensor([True, False]),
        "none": torch.empty(0, 3),
        "one": torch.tensor(3.5),
        "turned": shared.T,
        "window": shared[1:3, 2:],
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }


def check(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        torch.testing.assert_close(found[name], tensor.detach(), rtol=0, atol=0)


@pytest.mark.parametrize("layout", ["zip", "stream"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_torch_writes_is_read(tmp_path: Path, layout: str, protocol: int):
    file = tmp_path / "model.pth"
    torch.save(state(), file, _use_new_zipfile_serialization=layout == "zip", pickle_protocol=protocol)
    check(pickled_tensors(file), state())


@pytest.mark.parametrize("layout", ["zip", "stream"])
def test_a_state_dict_is_found_in_a_training_checkpoint(tmp_path: Path, layout: str):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    content = {"epoch": 3, "args": ["a", 1.5, None], "student": {}, "teacher": model.state_dict()}
    torch.save(content, tmp_path / "model.pth", _use_new_zipfile_serialization=layout == "zip")
    check(pickled_tensors(tmp_path / "model.pth"), dict(model.state_dict()))
    whole = read_pickled(tmp_path / "model.pth")
    assert isinstance(whole, dict)
    assert {key: whole[key] for key in ("epoch", "args", "student")} == {
        key: content[key] for key in ("epoch", "args", "student")
    }


@pytest.mark.parametrize("name", ["alex", "squeeze", "vgg"])
def test_files_of_python_2_are_read_as_torch_reads_them(name: str):
    file = HEADS / f"{name}.pth"
    check(pickled_tensors(file), dict(torch.load(file, weights_only=True, map_location="cpu")))


@pytest.mark.parametrize("protocol", range(2, 6))
def test_plain_pickles_of_arrays_are_read(tmp_path: Path, protocol: int):
    rng = np.random.default_rng(0)
    arrays = {
        kind: (100 * rng.standard_normal((2, 3))).astype(kind)
        for kind in ("<f4", ">f4", "<f8", "<f2", "<i8", "<i4", "u1", "i1", "<u2")
    }
    arrays |= {"columns": np.asfortranarray(arrays["<f4"]), "one": np.array(2.5), "true": np.array([True, False])}
    nested = {
        "conv": ("param_0", arrays["<f4"]),  # as paddle writes a tensor within other things
        "number": np.float32(0.5),
        "StructuredToParameterName@@": {"a": "b"},
    }
    (tmp_path / "plain.pdparams").write_bytes(pickle.dumps(collections.OrderedDict(arrays | nested), protocol))
    found = pickled_tensors(tmp_path / "plain.pdparams")
    assert list(found) == [*arrays, "conv"]
    for name, array in (arrays | {"conv": arrays["<f4"]}).items():
        native = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
        torch.testing.assert_close(found[name], native, rtol=0, atol=0)
    whole = read_pickled(tmp_path / "plain.pdparams")
    assert isinstance(whole, dict)
    assert whole["number"] == 0.5
    assert whole["StructuredToParameterName@@"] == {"a": "b"}


class Runs:
    """What an attacker writes: unpickling it makes a folder."""

    def __init__(self, call: object, *arguments: object) -> None:
        self.reduced = (call, arguments)

    def __reduce__(self) -> tuple:
        return self.reduced


HOSTILE = {
    "a function of the system": (lambda at: Runs(os.mkdir, at), r"posix\.mkdir"),
    "eval": (lambda at: Runs(eval, f"__import__('os').mkdir({at!r})"), r"builtins\.eval"),
    "getattr": (lambda at: Runs(getattr, "a", "b"), r"builtins\.getattr"),
    "a class": (lambda at: Runs(Path, at), r"pathlib"),
    "torch's own loader": (lambda at: Runs(torch.load, at), r"torch\.serialization\.load"),
    "an object": (lambda at: pytest.ExitCode.OK, r"ExitCode|builtins\.getattr"),
    "an array of objects": (lambda at: np.array([Runs(os.mkdir, at)], dtype=object), r"type O8|posix\.mkdir"),
    "a set": (lambda at: {1, 2}, r"EMPTY_SET"),
}


@pytest.mark.parametrize("layout", ["zip", "stream", "plain"])
@pytest.mark.parametrize("case", HOSTILE)
def test_whatever_wants_to_run_is_refused_by_name(tmp_path: Path, case: str, layout: str):
    at = str(tmp_path / "made")
    write, name = HOSTILE[case]
    content, file = {"weight": torch.ones(2) if layout != "plain" else 1, "odd": write(at)}, tmp_path / "model.pth"
    if layout == "plain":
        file.write_bytes(pickle.dumps(content, 4))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=layout == "zip", pickle_protocol=4)
    with pytest.raises(ModelError, match=f"refused: it asks for .*(?:{name})"):
        read_pickled(file)
    assert not (tmp_path / "made").exists()


ASSEMBLED = {
    "a call of text": b"\x80\x04\x8c\x03abc)R.",
    "a call of a known value": b"\x80\x04cnumpy\nndarray\n)R.",
    "an old class": b"(ios\nmkdir\n.",
    "an old instance": b"(cos\nmkdir\no.",
    "keyword arguments": b"\x80\x04ccollections\nOrderedDict\n)}\x92.",
    "an extension": b"\x80\x02\x82\x01.",
    "a reference outside": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "a state for a list": b"\x80\x02]}b.",
    "a key that is a tuple": b"\x80\x02}))s.",
    "items for a number": b"\x80\x02K\x01K\x02a.",
}


@pytest.mark.parametrize("case", ASSEMBLED)
def test_opcodes_that_are_not_data_are_refused(tmp_path: Path, case: str):
    (tmp_path / "odd.pkl").write_bytes(ASSEMBLED[case])
    with pytest.raises(ModelError, match="is refused: it asks for"):
        read_pickled(tmp_path / "odd.pkl")


def test_a_key_made_to_be_slow_is_refused(tmp_path: Path):
    # 2^60 elements to hash, in 60 opcodes: ((x, x), (x, x)) and so on.
    (tmp_path / "slow.pkl").write_bytes(b"\x80\x02})" + 60 * b"2\x86" + b"K\x01s.")
    with pytest.raises(ModelError, match="a key of type tuple"):
        read_pickled(tmp_path / "slow.pkl")


@pytest.mark.parametrize("layout", ["zip", "stream"])
@pytest.mark.parametrize("size", [(1, 10**12), (5,), (-1, 2)])
def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path, layout: str, size: tuple[int, ...]):
    class Lies:
        def __reduce__(self) -> tuple:
            stride = (0,) * len(size)
            return torch._utils._rebuild_tensor_v2, (torch.ones(4).storage(), 0, size, stride, False, {})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that typed storages are on their way out
        torch.save(Lies(), tmp_path / "lies.pth", _use_new_zipfile_serialization=layout == "zip")
    with pytest.raises(ModelError, match="in a storage of 4 numbers"):
        read_pickled(tmp_path / "lies.pth")


@pytest.mark.parametrize("layout", ["zip", "stream", "plain"])
def test_a_file_cut_anywhere_is_called_damaged(tmp_path: Path, layout: str):
    whole, file = io.BytesIO(), tmp_path / "cut.pth"
    if layout == "plain":
        pickle.dump({"a": np.ones(100)}, whole)
    else:
        torch.save({"a": torch.ones(100)}, whole, _use_new_zipfile_serialization=layout == "zip")
    content = whole.getvalue()
    for end in range(0, len(content) - 1, 17):
        file.write_bytes(content[:end])
        with pytest.raises(ModelError, match=r"cannot be read as a pickled file.*Get it again|is refused"):
            read_pickled(file)


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Path):
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "good.pth")
    with zipfile.ZipFile(tmp_path / "good.pth") as good, zipfile.ZipFile(tmp_path / "bomb.pth", "w") as bomb:
        for info in good.infolist():
            bomb.writestr(info.filename, good.read(info), zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match="cannot be read"):
        read_pickled(tmp_path / "bomb.pth")


def test_a_program_and_a_strange_archive_are_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "any.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="a zip archive that torch did not write"):
        read_pickled(tmp_path / "any.zip")
    with zipfile.ZipFile(tmp_path / "program.pt", "w") as archive:
        archive.writestr("program/data.pkl", b"\x80\x02}.")
        archive.writestr("program/constants.pkl", b"\x80\x02}.")
    with pytest.raises(ModelError, match="a program"):
        read_pickled(tmp_path / "program.pt")


def test_a_file_without_tensors_says_what_it_holds(tmp_path: Path):
    (tmp_path / "words.pkl").write_bytes(pickle.dumps({"vocabulary": ["a"]}))
    with pytest.raises(ModelError, match=r"holds no tensors by name \(it holds: vocabulary\)"):
        pickled_tensors(tmp_path / "words.pkl")
    with pytest.raises(ModelError, match="cannot be read"):
        pickled_tensors(tmp_path / "missing.pkl")
