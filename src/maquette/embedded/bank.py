"""Rendered pictures of the world on disk, so that pretraining reads instead of drawing."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maquette.embedded.render import render
from maquette.embedded.scene import Split, scene_at
from maquette.errors import DataError

SHARD = 2000
SIZE = 64

Pictures = NDArray[np.uint8]


def draw_bank(folder: Path, count: int, split: Split, workers: int) -> Iterator[int]:
    """Render scenes 0 to ``count`` of a split into shards; yield the number of pictures there after each shard.

    Shards that exist are kept, so an interrupted drawing goes on where it stopped. ``count`` is a multiple of SHARD.
    """
    if count % SHARD:
        raise DataError(f"{count} pictures: a bank holds whole shards of {SHARD}; give a multiple of {SHARD}.")
    folder.mkdir(parents=True, exist_ok=True)
    missing = [i for i in range(count // SHARD) if not _shard(folder, split, i).exists()]
    done = count - len(missing) * SHARD
    yield done
    # "spawn": a forked child would inherit the locks of torch's threads.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for written in pool.map(_draw_shard, [folder] * len(missing), [split] * len(missing), missing):
            done += written
            yield done


def open_bank(folder: Path, count: int, split: Split) -> Pictures:
    """The first ``count`` pictures of a split, uint8 (n, 3, 64, 64); picture i shows ``scene_at(i, split)``."""
    shards = [_shard(folder, split, i) for i in range(count // SHARD)]
    missing = [shard.name for shard in shards if not shard.exists()]
    if missing:
        raise DataError(f"{folder}: {len(missing)} shards are missing, first {missing[0]}. Draw the bank again.")
    return np.concatenate([np.load(shard) for shard in shards])


def _shard(folder: Path, split: Split, index: int) -> Path:
    return folder / f"{split}-{index:04d}.npy"


def _draw_shard(folder: Path, split: Split, index: int) -> int:
    keys = range(index * SHARD, (index + 1) * SHARD)
    pictures = np.stack([np.asarray(render(scene_at(key, split), SIZE)) for key in keys]).transpose(0, 3, 1, 2)
    target = _shard(folder, split, index)
    temporary = target.with_suffix(".partial")
    with temporary.open("wb") as file:
        np.save(file, np.ascontiguousarray(pictures))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    return len(pictures)
