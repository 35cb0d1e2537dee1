"""Rendered pictures of the world on disk, so that pretraining reads instead of drawing."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maquette.embedded.keys import rng_for
from maquette.embedded.render import render
from maquette.embedded.scene import Scene, Split, face_at, scene_at, subject_at, with_scene
from maquette.errors import DataError
from maquette.runs.files import replacing

SHARD = 2000
SIZE = 64
VIEWS = 8
"""Pictures in a row that show one and the same subject, or face."""

VIEWS_AS_PHOTO = 0.75

Pictures = NDArray[np.uint8]
Content = Literal["scenes", "subjects", "faces"]
"""What a bank shows: a new scene in each picture, or VIEWS scenes of each subject or face."""


def bank_scene(key: int, split: Split, content: Content = "scenes") -> Scene:
    """What picture ``key`` of a bank shows."""
    if content == "scenes":
        return scene_at(key, split)
    number, view = divmod(key, VIEWS)
    rng = rng_for("view", content, split, number, view)
    style = "photo" if rng.random() < VIEWS_AS_PHOTO else None
    subject = subject_at(number, split) if content == "subjects" else face_at(number, split)
    return with_scene(subject, rng.getrandbits(60), style=style)


def draw_bank(folder: Path, count: int, split: Split, workers: int, content: Content = "scenes") -> Iterator[int]:
    """Render pictures 0 to ``count`` of a bank into shards; yield the number of pictures there after each shard.

    Shards that exist are kept, so an interrupted drawing goes on where it stopped. ``count`` is a multiple of SHARD.
    """
    if count % SHARD:
        raise DataError(f"{count} pictures: a bank holds whole shards of {SHARD}; give a multiple of {SHARD}.")
    folder.mkdir(parents=True, exist_ok=True)
    missing = [i for i in range(count // SHARD) if not _shard(folder, split, content, i).exists()]
    done = count - len(missing) * SHARD
    yield done
    n = len(missing)
    # "spawn": a forked child would inherit the locks of torch's threads.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for written in pool.map(_draw_shard, [folder] * n, [split] * n, [content] * n, missing):
            done += written
            yield done


def open_bank(folder: Path, count: int, split: Split, content: Content = "scenes") -> Pictures:
    """The first ``count`` pictures of a bank, uint8 (n, 3, 64, 64); picture i shows ``bank_scene(i, ...)``."""
    shards = [_shard(folder, split, content, i) for i in range(count // SHARD)]
    missing = [shard.name for shard in shards if not shard.exists()]
    if missing:
        raise DataError(f"{folder}: {len(missing)} shards are missing, first {missing[0]}. Draw the bank again.")
    return np.concatenate([np.load(shard) for shard in shards])


def _shard(folder: Path, split: Split, content: Content, index: int) -> Path:
    middle = "" if content == "scenes" else f"{content}-"
    return folder / f"{split}-{middle}{index:04d}.npy"


def _draw_shard(folder: Path, split: Split, content: Content, index: int) -> int:
    keys = range(index * SHARD, (index + 1) * SHARD)
    scenes = (bank_scene(key, split, content) for key in keys)
    pictures = np.stack([np.asarray(render(scene, SIZE)) for scene in scenes]).transpose(0, 3, 1, 2)
    target = _shard(folder, split, content, index)
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.save(file, np.ascontiguousarray(pictures))
    return len(pictures)
