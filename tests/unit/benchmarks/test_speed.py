"""Turns of arms that end early, and what an operation is counted to."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
from benchmarks.speed import turns
from benchmarks.speed.arms import Arm, Setting
from benchmarks.speed.shares import part_of


def test_an_arm_that_is_killed_between_turns_is_named_with_the_end_of_its_log(tmp_path, monkeypatch):
    def started(arm: Arm, setting: Setting, folder) -> subprocess.Popen[str]:
        folder.mkdir(parents=True)
        (folder / "log").write_text(f"the last words of {arm.label}")
        command = [sys.executable, "-c", "print('\"ready\"')"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.wait()
        return process

    monkeypatch.setattr(turns, "started", started)
    with pytest.raises(RuntimeError, match=r'"one" ended early(.|\n)*the last words of one'):
        turns.measured([Arm("one", "bare")], Setting(64, 1, 4, turn=1, rounds=1), tmp_path)


@dataclass
class Event:
    """What is read of a profiler's row."""

    key: str
    input_shapes: list[list[int]]


@pytest.mark.parametrize(
    ("key", "shapes", "part"),
    [
        ("aten::mkldnn_convolution", [[4, 32, 16, 16], [32, 32, 3, 3]], "convolutions"),
        ("aten::mm", [[1024, 64], [64, 4]], "adapters' products"),
        ("aten::addmm", [[64], [1024, 64], [64, 64]], "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", [[4, 4, 256, 16]], "attention"),
        ("aten::native_group_norm_backward", [[4, 32, 16, 16]], "normalisation and activations"),
        ("aten::_fused_adamw_", [], "optimiser"),
        ("aten::view", [[4, 32]], "views and the code around"),
    ],
)
def test_operations_are_counted_to_their_part_and_adapters_by_the_rank(key, shapes, part):
    assert part_of(Event(key, shapes), rank=4) == part
