"""Which pictures a step learns from: a pure function of (seed, step), so that a run can be resumed anywhere.

Every picture is drawn exactly ``repeats`` times in each pass over the data and every step draws the same number of
pictures; a step may begin in one pass and end in the next. Within a pass, pictures of one size are put next to each
other, so that most steps need one forward pass only. What is left over of the sizes shares steps, in one smaller
forward pass for each size: nothing is dropped, drawn twice to fill up, or weighs more than its neighbours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Literal

from maquette.data.sample import Size
from maquette.errors import DataError


@dataclass(frozen=True, slots=True)
class Entry:
    """What the mix must know of a picture: the size it is trained at, whose it is, and how often it counts."""

    size: Size
    concept: int = 0
    repeats: int = 1
    is_class: bool = False


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows of one forward pass, all of one size; those of the subject first, then those of its class.

    indices: into the entries. slots: the position of each draw in its step, from 0, unique in the step (side by side:
    among each concept's own). weights: what each row's loss counts in the average over the micro-batches of the step.
    """

    indices: tuple[int, ...]
    slots: tuple[int, ...]
    weights: tuple[float, ...]


Plan = Callable[[int], list[MicroBatch]]
"""Step (from 0) -> its micro-batches. Their order is the same in every process: process r of n takes every n-th."""


Sampler = Literal["cycle", "balanced"]
"""Every picture equally often, or every concept."""


def plan(
    entries: Sequence[Entry],
    *,
    seed: int,
    batch_size: int,
    accumulation: int = 1,
    class_weight: float = 1.0,
    sampler: Sampler = "cycle",
) -> Plan:
    """The mix of a run: ``batch_size`` subject pictures in each of ``accumulation`` parts of a step.

    sampler: "cycle" draws each picture ``repeats`` times before any comes again; "balanced" draws each concept once
    before any comes again, and goes through the pictures of each in the first way.

    With class images, each subject picture is joined by one of its own concept's class (none if that has none), weighed
    by ``class_weight``, which is DreamBooth's lambda: averaged over the micro-batches, the loss is the mean over the
    subject's rows plus lambda times the mean over the class rows. Source: Ruiz et al. 2022 (arXiv 2208.12242) eq. 2.
    Raises DataError where all entries are class images.
    """
    subject = [i for i, entry in enumerate(entries) if not entry.is_class]
    if not subject:
        raise DataError("There are no pictures to learn from, only class images. Give the folder of the subject.")
    classes = {
        concept: [i for i, entry in enumerate(entries) if entry.is_class and entry.concept == concept]
        for concept in dict.fromkeys(entries[i].concept for i in subject)
    }
    key = f"{seed}/subject"
    draws = (
        stream(entries, subject, key=key, batch_size=batch_size)
        if sampler == "cycle"
        else Rounds({c: _own(entries, subject, c, key) for c in classes}, key)
    )
    class_draws = {
        concept: stream(entries, indices, key=f"{seed}/class/{concept}", batch_size=batch_size)
        for concept, indices in classes.items()
        if indices
    }

    def companions(rows: Sequence[int], first: int) -> list[int]:
        """One class picture for each subject row: as many draws on as its concept was drawn before."""
        before = {c: draws.count(first, c) for c in class_draws}
        drawn: list[int] = []
        for row in rows:
            concept = entries[row].concept
            if concept in class_draws:
                drawn.append(class_draws[concept].at(before[concept]))
                before[concept] += 1
        return drawn

    def at(step: int) -> list[MicroBatch]:
        per_step, groups = batch_size * accumulation, []
        slot = 0
        for part in range(accumulation):
            first = step * per_step + part * batch_size
            rows = [draws.at(first + i) for i in range(batch_size)]
            drawn = [(i, 1 / per_step) for i in rows]
            drawn += [(i, class_weight / per_step) for i in companions(rows, first)]
            groups += _by_size([(slot + k, i, weight) for k, (i, weight) in enumerate(drawn)], entries)
            slot += len(drawn)
        # The loop averages over micro-batches, so each weight is multiplied by how many there are.
        return [
            MicroBatch(
                tuple(i for _, i, _ in group),
                tuple(s for s, _, _ in group),
                tuple(w * len(groups) for _, _, w in group),
            )
            for group in groups
        ]

    return at


def side_by_side(entries: Sequence[Entry], mix: Callable[[Sequence[Entry]], Plan]) -> Plan:
    """The mixes of all concepts beside each other, each as if its concept were alone: what a bank of adapters trains.

    mix: the plan of one concept's entries. A micro-batch holds the rows of all concepts, one block after the other;
    slots and weights are those of each block alone, so that the loss is the sum of the concepts' own. All entries must
    have one size.
    """
    concepts = sorted({entry.concept for entry in entries})
    own = [[i for i, entry in enumerate(entries) if entry.concept == concept] for concept in concepts]
    plans = [mix([replace(entries[i], concept=0) for i in rows]) for rows in own]

    def at(step: int) -> list[MicroBatch]:
        return [_joined(parts, own) for parts in zip(*(plan(step) for plan in plans), strict=True)]

    return at


def _joined(parts: Sequence[MicroBatch], own: Sequence[Sequence[int]]) -> MicroBatch:
    return MicroBatch(
        tuple(rows[i] for part, rows in zip(parts, own, strict=True) for i in part.indices),
        tuple(slot for part in parts for slot in part.slots),
        tuple(weight for part in parts for weight in part.weights),
    )


Draw = tuple[int, int, float]
"""(slot, index, weight)"""


def _by_size(draws: Sequence[Draw], entries: Sequence[Entry]) -> list[list[Draw]]:
    sizes = dict.fromkeys(entries[i].size for _, i, _ in draws)
    return [[draw for draw in draws if entries[draw[1]].size == size] for size in sizes]


@dataclass(frozen=True)
class Stream:
    """An endless sequence of indices, pass after pass; ``order`` gives one pass."""

    length: int
    order: Callable[[int], tuple[int, ...]]
    concept_of: Callable[[int], int]

    def at(self, position: int) -> int:
        """The index drawn at a position, counted from the beginning of the run."""
        turn, place = divmod(position, self.length)
        return self.order(turn)[place]

    def count(self, position: int, concept: int) -> int:
        """How many of the draws before a position are of a concept."""
        turn, place = divmod(position, self.length)
        order = [self.concept_of(i) for i in self.order(turn)]
        return turn * order.count(concept) + order[:place].count(concept)


@dataclass(frozen=True)
class Rounds:
    """An endless sequence of indices in which every round draws each concept once, in an order of its own."""

    streams: Mapping[int, Stream]
    key: str

    def at(self, position: int) -> int:
        """The index drawn at a position, counted from the beginning of the run."""
        turn, place = divmod(position, len(self.streams))
        return self.streams[self._order(turn)[place]].at(turn)

    def count(self, position: int, concept: int) -> int:
        """How many of the draws before a position are of a concept."""
        turn, place = divmod(position, len(self.streams))
        return turn + (concept in self._order(turn)[:place])

    def _order(self, turn: int) -> list[int]:
        return Random(f"{self.key}/round/{turn}").sample(list(self.streams), len(self.streams))


def _own(entries: Sequence[Entry], subject: Sequence[int], concept: int, key: str) -> Stream:
    """The draws of one concept alone; batches are of several, so that there is no size to gather them by."""
    own = [i for i in subject if entries[i].concept == concept]
    return stream(entries, own, key=f"{key}/{concept}", batch_size=1)


def stream(entries: Sequence[Entry], indices: Sequence[int], *, key: str, batch_size: int) -> Stream:
    """The draws of some entries, each ``repeats`` times in a pass, in an order of its own in every pass."""
    draws = [i for i in indices for _ in range(entries[i].repeats)]

    @lru_cache(maxsize=4)
    def order(turn: int) -> tuple[int, ...]:
        return tuple(_order(draws, entries, turn, Random(f"{key}/{turn}"), batch_size))

    return Stream(len(draws), order, lambda i: entries[i].concept)


def _order(draws: Sequence[int], entries: Sequence[Entry], turn: int, rng: Random, batch_size: int) -> list[int]:
    """One pass: shuffled draws, in chunks of one size that begin where a batch begins."""
    shuffled = rng.sample(draws, len(draws))
    head = min(-turn * len(draws) % batch_size, len(draws))  # what the last batch of the pass before still lacks
    tail = (len(draws) - head) % batch_size
    chunks: list[list[int]] = []
    rest: list[int] = []
    for size in dict.fromkeys(entries[i].size for i in shuffled):
        same = [i for i in shuffled if entries[i].size == size]
        full = len(same) - len(same) % batch_size
        chunks += [same[k : k + batch_size] for k in range(0, full, batch_size)]
        rest += same[full:]
    rng.shuffle(chunks)
    while len(rest) < head + tail:
        rest += chunks.pop()
    rng.shuffle(rest)
    middle = rest[head : len(rest) - tail]
    chunks += [middle[k : k + batch_size] for k in range(0, len(middle), batch_size)]
    rng.shuffle(chunks)
    return rest[:head] + [i for chunk in chunks for i in chunk] + rest[len(rest) - tail :]
