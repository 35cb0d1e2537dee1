"""A real process, killed: whenever it happens, also while a checkpoint is written, the resumed run ends the same."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tests.learning.small import PROMPT, QUICK, paint, sets

import maquette
from maquette.training.checkpoint import all_checkpoints, is_intact

STEPS = 20
SETTINGS = {
    **QUICK,
    "training.steps": STEPS,
    "checkpoints.every": 1,
    "checkpoints.keep": 2,
    "text_encoder.train": "lora",
    "training.ema": {"half_life_images": 5.0},
    "preview.every": 10,
}


def start(*arguments: object) -> subprocess.Popen[str]:
    """The command, in a process of its own; one thread, as in the other runs that it is compared with."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(maquette.__file__).parent.parent)}
    command = [sys.executable, "-m", "maquette", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def when(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    """Wait until something has happened in the run's folder."""
    while not happened():
        assert process.poll() is None, f"it ended before it was killed: {process.communicate()[1]}"
        time.sleep(0.0005)


@pytest.mark.timeout(600)
def test_killed_at_any_moment_and_resumed_the_adapter_has_the_same_bits(bases, tmp_path):
    """Four starts: killed between two steps, killed inside the writing of a checkpoint, asked to stop, left alone."""
    rng = random.Random(4)
    photos, out = paint(tmp_path / "photos"), tmp_path / "run" / "dog"
    new = [photos, "--prompt", PROMPT, "--base", bases("sd1")]
    again = ["train", "--resume", "--out", out]
    saved = out / "checkpoints"
    assert not saved.exists()

    process = start("train", *new, "--out", out, *(f"--set={part}" for part in sets(SETTINGS)))
    reached = rng.randrange(2, 4)
    when(process, lambda: (saved / f"step-{reached:08d}").exists())
    time.sleep(rng.uniform(0, 0.1))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    killed_at = len(all_checkpoints(saved))
    assert killed_at < STEPS
    assert is_intact(all_checkpoints(saved)[-1])

    process = start(*again)
    when(process, lambda: len(all_checkpoints(saved)) > killed_at)  # what the first kill may have left is swept by now
    while True:  # the folder is there for a few milliseconds: now and then it is gone before the signal arrives
        when(process, lambda: any(saved.glob(".step-*.partial")))
        os.kill(process.pid, signal.SIGSTOP)
        if any(saved.glob(".step-*.partial")):
            break
        os.kill(process.pid, signal.SIGCONT)
    process.kill()
    process.communicate()
    assert len(list(saved.glob(".step-*.partial"))) == 1
    assert is_intact(all_checkpoints(saved)[-1])

    process = start(*again)
    target = len(all_checkpoints(saved)) + 1
    when(process, lambda: len(all_checkpoints(saved)) >= target)
    process.send_signal(signal.SIGTERM)
    told = process.communicate()[1]
    assert process.returncode == 130
    assert "stopped by SIGTERM" in told
    assert f"maquette train --resume --out {out}" in told
    assert not list(saved.glob(".step-*"))  # what the kill left is swept

    process = start(*again)
    shown, told = process.communicate()
    assert process.returncode == 0, told
    assert str(out / "report.html") in shown
    names = ["dog.safetensors", "raw/dog.safetensors", "pytorch_lora_weights.safetensors"]
    whole = uninterrupted(photos, bases("sd1"), tmp_path / "whole" / "dog")
    for name in names:
        one, other = load_file(out / "export" / name), load_file(whole / "export" / name)
        assert one.keys() == other.keys()
        assert [key for key in one if not one[key].equal(other[key])] == []
    for preview in (whole / "previews").iterdir():
        assert (out / "previews" / preview.name).read_bytes() == preview.read_bytes()


def uninterrupted(photos: Path, base: Path, out: Path) -> Path:
    """The same run in this process, on one thread."""
    import torch

    from maquette.config.load import load_config
    from maquette.training.session import run

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        flags = {"SOURCE": photos, "--prompt": PROMPT, "--base": base}
        return run(load_config(flags=flags, sets=sets(SETTINGS)), out=out).root
    finally:
        torch.set_num_threads(threads)
