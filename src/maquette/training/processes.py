"""Several processes that train one run: which of them this is, how they agree, and how they end together.

Started by torchrun or `accelerate launch`, which say the same in the environment. Gradients are added with
torch.distributed and not by accelerate's wrapper, DistributedDataParallel: it averages where our weights ask for sums,
counts on a forward pass of the wrapped module where families call its parts, and on every parameter taking part in
every pass, which a halted group does not.
"""

import atexit
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from maquette.errors import CheckpointError, ConfigError, EndedElsewhere, Interrupted, MaquetteError
from maquette.training.launch import check_launcher, num_launched

PATIENCE = timedelta(days=1)
"""How long a process waits for the others: the first may be painting previews. The death of one is noticed at once."""

NUMBERS = 3
"""How many numbers a process can tell the others at a meeting."""

BUCKET = 1 << 25
"""Elements that are added over processes in one message: 128 MiB, so that gradients are never copied whole."""

FINE = 0


@dataclass(frozen=True, slots=True)
class Processes:
    """Who trains: this process is number ``rank`` of ``count``. A value; the group itself is torch's.

    All processes make the same calls in the same order. Only number 0 writes and speaks.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, num: int) -> range:
        """Which of ``num`` pieces of work this process does: every count-th."""
        return range(self.rank, num, self.count)

    @property
    def part(self) -> slice:
        """The same, as a slice of a list."""
        return slice(self.rank, None, self.count)

    def meet(self, *numbers: int) -> list[tuple[int, ...]]:
        """Wait for all processes; what each of them told, by rank.

        numbers: at most NUMBERS, as many in every process. Raises EndedElsewhere where another one ended in an error.
        """
        if self.count == 1:
            return [numbers]
        told = self._exchange([FINE, *numbers, *[0] * (NUMBERS - len(numbers))])
        self._end_with(told, "")
        return [tuple(row[1 : 1 + len(numbers)]) for row in told]

    def require_same(self, facts: Mapping[str, str]) -> None:
        """Raise ConfigError, naming them, for facts that differ between processes: the run would be no one's."""
        if self.count == 1:
            return
        self.meet()
        lines = self._texts("\n".join(facts.values()))
        rows = [dict(zip(facts, line.split("\n"), strict=True)) for line in lines]
        differ = [name for name in facts if len({row[name] for row in rows}) > 1]
        if differ:
            raise ConfigError(
                f"The processes of this run do not have the same {', '.join(differ)}. Give all machines the same files "
                "and versions, and the run's folder on a disk that they share."
            )

    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        """Which of some flags are set in any process."""
        found = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return [bool(flag) for flag in found.tolist()]

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all processes, which get the same bits. They have the same shapes."""
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            dist.all_reduce(flat)
            for tensor, summed in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
                tensor.copy_(summed.view(tensor.shape))

    def device(self, device: torch.device) -> torch.device:
        """This process's own of the devices of a kind. Raises ConfigError where there are more processes than GPUs."""
        if self.count == 1 or device.type == "cpu":
            return device
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if device.type != "cuda" or local >= torch.cuda.device_count():
            there = f"{torch.cuda.device_count()} GPUs" if device.type == "cuda" else f"one {device.type}"
            raise ConfigError(
                f"Process {self.rank} has no device of its own: there are {os.environ.get('LOCAL_WORLD_SIZE', 'more')} "
                f"processes on this machine and {there}. Launch no more processes than GPUs, or set training.device = "
                '"cpu".'
            )
        torch.cuda.set_device(local)
        return torch.device("cuda", local)

    def ended(self, error: Exception) -> Exception:
        """Tell the others how this process ended; what to raise here. The lowest process that failed speaks for all."""
        code = 130 if isinstance(error, Interrupted) else 2 if isinstance(error, MaquetteError) else 1
        text = str(error) if code == 2 else ""
        told = self._exchange([code, *[0] * NUMBERS])
        try:
            problems = self._end_with(told, text)
        except EndedElsewhere as elsewhere:
            return elsewhere
        return type(error)("\n".join(problems)) if code == 2 and len(problems) > 1 else error

    def _exchange(self, numbers: Sequence[int]) -> list[list[int]]:
        mine = torch.tensor(numbers, dtype=torch.int64)
        rows = [torch.empty_like(mine) for _ in range(self.count)]
        try:
            dist.all_gather(rows, mine)
        except RuntimeError as error:
            raise self._lost() from error
        return [row.tolist() for row in rows]

    def _end_with(self, told: Sequence[Sequence[int]], text: str) -> list[str]:
        """Where some process failed, hear why: its problems for the one that speaks, EndedElsewhere for the others."""
        codes = [row[0] for row in told]
        if not any(codes):
            return []
        problems = dict.fromkeys(line for line in self._texts(text) if line)
        speaker = next(rank for rank, code in enumerate(codes) if code)
        if speaker != self.rank:
            raise EndedElsewhere(codes[speaker])
        return list(problems)

    def _texts(self, text: str) -> list[str]:
        """A text of each process, by rank."""
        data = text.encode()
        lengths = [row[0] for row in self._exchange([len(data)])]
        mine = torch.zeros(max(lengths), dtype=torch.uint8)
        mine[: len(data)] = torch.tensor(list(data), dtype=torch.uint8)
        rows = [torch.empty_like(mine) for _ in lengths]
        dist.all_gather(rows, mine)
        return [bytes(row[:n].tolist()).decode() for row, n in zip(rows, lengths, strict=True)]

    def _lost(self) -> MaquetteError:
        """A process is gone without a word: the launcher says which; one of those that are left says what to do."""
        if not self.is_first:
            return EndedElsewhere(2)
        return CheckpointError(
            "Another process of this run is gone: killed, out of memory, or cut off. What the last checkpoint holds is "
            "safe; go on with --resume."
        )


ALONE = Processes()
"""One process, which does everything."""


@contextmanager
def together() -> Generator[Processes]:
    """Join the processes that a launcher started with this one; they leave the block together, or all by an error.

    Where one of them raises, one of those that did says it and the others raise EndedElsewhere. Without a launcher:
    one process. Raises ConfigError for settings of the launcher that would have no effect.
    """
    check_launcher()
    if num_launched() == 1:
        yield ALONE
        return
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
        # Its threads must not outlive the interpreter, which aborts on them.
        atexit.register(dist.destroy_process_group)
    processes = Processes(dist.get_rank(), dist.get_world_size())
    try:
        yield processes
        processes.meet()
    except EndedElsewhere:
        raise
    except KeyboardInterrupt:  # at once, without a word to the others: the launcher interrupts them too
        if processes.is_first:
            raise
        raise EndedElsewhere(130) from None
    except Exception as error:
        told = processes.ended(error)
        if told is error:
            raise
        raise told from error


def check_share(accumulation: int, processes: Processes) -> None:
    """Raise ConfigError where a step cannot be shared evenly.

    accumulation: the forward passes of a step, over all processes: what a step learns from does not depend on them.
    """
    if accumulation % processes.count:
        more = (accumulation // processes.count + 1) * processes.count
        raise ConfigError(
            f"training.gradient_accumulation = {accumulation}: the forward passes of one step are shared by all "
            f"processes, and {processes.count} cannot share {accumulation} evenly. Set training.gradient_accumulation ="
            f" {more} (or another multiple of {processes.count}), or launch another number of processes."
        )


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(t.numel() for t in bucket) + tensor.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
