"""Checkpoints: whole or absent, verified when read, deleted when old."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from maquette.errors import CheckpointError
from maquette.training import checkpoint
from maquette.training.checkpoint import (
    Piece,
    all_checkpoints,
    environment_changes,
    is_intact,
    newest_checkpoint,
    prune,
    read_checkpoint,
    write_checkpoint,
)


def pieces(step: int) -> dict[str, Piece]:
    g = torch.Generator().manual_seed(step)
    return {
        "adapter": Piece({"up": torch.randn(3, 4, generator=g), "down": torch.randn(4, 3, generator=g).t()}),
        "optimizer": Piece({"m": torch.randn(5, generator=g), "k": torch.tensor(step)}, {"d": 1e-6, "kind": "Prodigy"}),
        "progress": Piece({}, {"step": step, "images_seen": 2 * step, "rate": 0.1 + 0.2}),
    }


def same(a: Piece, b: Piece) -> bool:
    return (
        a.values == b.values
        and a.tensors.keys() == b.tensors.keys()
        and all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    )


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_what_was_written_is_read(tmp_path):
    path = write_checkpoint(tmp_path, 20, pieces(20))
    read = newest_checkpoint(tmp_path)
    assert (read.path, read.step) == (path, 20)
    assert read.pieces.keys() == pieces(20).keys()
    assert all(same(read.pieces[name], piece) for name, piece in pieces(20).items())


def test_files_are_safetensors_json_and_a_manifest_and_nothing_else(tmp_path):
    path = write_checkpoint(tmp_path, 20, pieces(20))
    assert files(tmp_path) == [
        f"{path.name}/{name}"
        for name in ("adapter.safetensors", "manifest.json", "optimizer.json", "optimizer.safetensors", "progress.json")
    ]
    assert load_file(path / "adapter.safetensors")["up"].shape == (3, 4)


def test_tensors_that_share_memory_are_stored_apart(tmp_path):
    table = torch.arange(6.0)
    write_checkpoint(tmp_path, 1, {"optimizer": Piece({"a": table, "b": table, "c": table[2:]})})
    tensors = newest_checkpoint(tmp_path).pieces["optimizer"].tensors
    assert torch.equal(tensors["a"], table)
    assert torch.equal(tensors["b"], table)
    assert torch.equal(tensors["c"], table[2:])


def test_the_newest_is_by_step_not_by_time(tmp_path):
    for step in (900, 1000, 20):
        write_checkpoint(tmp_path, step, pieces(step))
    assert newest_checkpoint(tmp_path).step == 1000
    assert [path.name for path in all_checkpoints(tmp_path)] == ["step-00000020", "step-00000900", "step-00001000"]


def test_a_step_that_is_written_again_replaces_the_old_one(tmp_path):
    write_checkpoint(tmp_path, 5, pieces(4))
    write_checkpoint(tmp_path, 5, pieces(5))
    assert same(newest_checkpoint(tmp_path).pieces["adapter"], pieces(5)["adapter"])
    assert len(all_checkpoints(tmp_path)) == 1


@pytest.mark.parametrize("name", ["adapter.safetensors", "optimizer.safetensors", "optimizer.json", "progress.json"])
def test_one_changed_bit_is_found_and_named(tmp_path, name):
    path = write_checkpoint(tmp_path, 3, pieces(3))
    flip(path / name)
    with pytest.raises(CheckpointError, match=f"step-00000003 is damaged: {name} is not as it was written"):
        read_checkpoint(path)


def test_every_damaged_file_is_named(tmp_path):
    path = write_checkpoint(tmp_path, 3, pieces(3))
    (path / "adapter.safetensors").unlink()
    (path / "optimizer.json").write_text("")
    with pytest.raises(CheckpointError, match=r"adapter\.safetensors is missing; optimizer\.json is not as it was"):
        read_checkpoint(path)


@pytest.mark.parametrize("damage", ["gone", "cut", "step"])
def test_a_damaged_manifest_is_damage(tmp_path, damage):
    path = write_checkpoint(tmp_path, 3, pieces(3))
    manifest = path / "manifest.json"
    if damage == "gone":
        manifest.unlink()
    elif damage == "cut":
        manifest.write_text(manifest.read_text()[:-40])
    else:
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "step": 4}))
    with pytest.raises(CheckpointError, match=r"is damaged: manifest\.json"):
        read_checkpoint(path)
    assert not is_intact(path)


def test_a_damaged_newest_checkpoint_names_the_newest_intact_one(tmp_path):
    for step in (10, 20, 30, 40):
        write_checkpoint(tmp_path, step, pieces(step))
    flip(tmp_path / "step-00000040" / "optimizer.safetensors")
    (tmp_path / "step-00000030" / "manifest.json").unlink()
    with pytest.raises(CheckpointError) as caught:
        newest_checkpoint(tmp_path)
    assert "step-00000040 is damaged: optimizer.safetensors" in str(caught.value)
    assert f"newest intact one is {tmp_path / 'step-00000020'}" in str(caught.value)
    # The cure that the message names works.
    for step in (40, 30):
        (tmp_path / f"step-{step:08d}").rename(tmp_path.parent / f"aside-{tmp_path.name}-{step}")
    assert newest_checkpoint(tmp_path).step == 20


def test_a_damaged_only_checkpoint_says_that_there_is_no_other(tmp_path):
    flip(write_checkpoint(tmp_path, 10, pieces(10)) / "adapter.safetensors")
    with pytest.raises(CheckpointError, match="No other is intact"):
        newest_checkpoint(tmp_path)


@pytest.mark.parametrize("there", [True, False])
def test_no_checkpoint_at_all_is_said(tmp_path, there):
    folder = tmp_path / "checkpoints"
    if there:
        folder.mkdir()
    with pytest.raises(CheckpointError, match="holds no checkpoint to resume from"):
        newest_checkpoint(folder)


def test_pruning_keeps_the_last(tmp_path):
    for step in (10, 20, 30, 40):
        write_checkpoint(tmp_path, step, pieces(step))
    prune(tmp_path, keep=2)
    assert [path.name for path in all_checkpoints(tmp_path)] == ["step-00000030", "step-00000040"]
    assert newest_checkpoint(tmp_path).step == 40
    prune(tmp_path, keep=2)
    assert len(all_checkpoints(tmp_path)) == 2


def test_pruning_deletes_no_file_of_another(tmp_path):
    for step in (10, 20):
        write_checkpoint(tmp_path, step, pieces(step))
    (tmp_path / "step-00000010" / "notes.txt").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    prune(tmp_path, keep=1)
    assert files(tmp_path / "step-00000010") == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_pruning_passes_by_what_it_cannot_read(tmp_path):
    for step in (10, 20, 30):
        write_checkpoint(tmp_path, step, pieces(step))
    (tmp_path / "step-00000010" / "manifest.json").write_text("{")
    (tmp_path / "step-00000030" / "manifest.json").unlink()
    before = files(tmp_path)
    prune(tmp_path, keep=1)
    assert files(tmp_path) == before


def test_pruning_that_is_killed_midway_is_finished_by_the_next(tmp_path, monkeypatch):
    for step in (10, 20):
        write_checkpoint(tmp_path, step, pieces(step))

    unlink, gone = Path.unlink, []

    def killed(self: Path, missing_ok: bool = False) -> None:
        if gone:
            raise KeyboardInterrupt
        gone.append(self)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        prune(tmp_path, keep=1)
    monkeypatch.undo()
    assert newest_checkpoint(tmp_path).step == 20
    prune(tmp_path, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000020"]


@pytest.mark.parametrize("moment", ["first file", "second file", "manifest", "rename"])
def test_a_write_that_is_killed_at_any_moment_leaves_the_last_checkpoint(tmp_path, monkeypatch, moment):
    """The temporary folder of a killed process stays; the next write clears it away."""
    write_checkpoint(tmp_path, 10, pieces(10))
    count = {"first file": 1, "second file": 2, "manifest": 99, "rename": 99}[moment]
    calls = []

    class Killed(BaseException):
        """Not an Exception, as a kill is not: no handler of ours may see it."""

    def dying_save(tensors: dict[str, torch.Tensor], path: Path) -> None:
        calls.append(path)
        if len(calls) == count:
            path.write_bytes(b"half")
            raise Killed
        real_save(tensors, path)

    def die(*args: object, **kwargs: object) -> None:
        raise Killed

    real_save = checkpoint.save_file
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", dying_save)
        patch.setattr(checkpoint, "_sweep", lambda _: None)  # a killed process runs no handlers
        if moment == "manifest":
            patch.setattr(checkpoint, "write_text", die)
        if moment == "rename":
            patch.setattr(Path, "rename", die)
        with pytest.raises(Killed):
            write_checkpoint(tmp_path, 20, pieces(20))
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert left == [".step-00000020.partial"]
    assert newest_checkpoint(tmp_path).step == 10
    write_checkpoint(tmp_path, 20, pieces(20))
    assert newest_checkpoint(tmp_path).step == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000020"]


def test_a_full_disk_is_one_clear_error_and_leaves_nothing_behind(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, 10, pieces(10))

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(CheckpointError, match=r"cannot be written \(No space left on device\)\. Make room"):
        write_checkpoint(tmp_path, 20, pieces(20))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010"]
    assert newest_checkpoint(tmp_path).step == 10


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_checkpoint(tmp_path / "file" / "checkpoints", 1, pieces(1))


def test_the_environment_is_recorded_and_compared(tmp_path):
    write_checkpoint(tmp_path, 1, pieces(1))
    saved = newest_checkpoint(tmp_path).environment
    assert saved["threads"] == torch.get_num_threads()
    assert saved["instruction set"] == torch.backends.cpu.get_cpu_capability()
    assert environment_changes(saved) == []
    other = {**saved, "threads": 7, "instruction set": "ALTIVEC"}
    assert environment_changes(other) == [
        f"threads: 7 -> {saved['threads']}",
        f"instruction set: ALTIVEC -> {saved['instruction set']}",
    ]


def test_another_format_is_refused_by_number(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SCHEMA", 3)
    path = write_checkpoint(tmp_path, 1, pieces(1))
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="written in format 3; this version of maquette reads format 2"):
        read_checkpoint(path)


def test_a_checkpoint_can_be_copied_and_moved(tmp_path):
    path = write_checkpoint(tmp_path / "a", 1, pieces(1))
    shutil.copytree(path, tmp_path / "b" / path.name)
    assert newest_checkpoint(tmp_path / "b").step == 1
