from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.data.mix import Entry, plan
from maquette.errors import DataError

SIZES = [(64, 64), (48, 80), (80, 48)]

entries_lists = st.lists(
    st.builds(Entry, size=st.sampled_from(SIZES), concept=st.integers(0, 1), repeats=st.integers(1, 3)),
    min_size=1,
    max_size=12,
)


def drawn(at, steps: int) -> list[int]:
    """All draws of a run in the order of their slots."""
    draws = []
    for step in range(steps):
        rows = [row for batch in at(step) for row in zip(batch.slots, batch.indices, strict=True)]
        draws += [index for _, index in sorted(rows)]
    return draws


@given(entries=entries_lists, batch_size=st.integers(1, 7), accumulation=st.integers(1, 3), seed=st.integers(0, 5))
def test_every_picture_comes_exactly_repeats_times_in_every_pass(entries, batch_size, accumulation, seed):
    at = plan(entries, seed=seed, batch_size=batch_size, accumulation=accumulation)
    length = sum(entry.repeats for entry in entries)
    draws = drawn(at, steps=3 * length)  # at least three passes, since each step draws at least one
    for turn in range(3):
        counts = Counter(draws[turn * length : (turn + 1) * length])
        assert counts == {i: entry.repeats for i, entry in enumerate(entries)}


@given(entries=entries_lists, batch_size=st.integers(1, 7), accumulation=st.integers(1, 3), step=st.integers(0, 200))
def test_a_step_is_full_of_one_size_each_and_weighs_every_draw_alike(entries, batch_size, accumulation, step):
    batches = plan(entries, seed=0, batch_size=batch_size, accumulation=accumulation)(step)
    num = batch_size * accumulation
    assert sum(len(batch.indices) for batch in batches) == num
    assert sorted(slot for batch in batches for slot in batch.slots) == list(range(num))
    for batch in batches:
        assert len({entries[i].size for i in batch.indices}) == 1
        assert len(batch.indices) <= batch_size
        # What the loop makes of a weight: its share of the average over the micro-batches.
        assert [w / len(batches) for w in batch.weights] == pytest.approx([1 / num] * len(batch.indices))


@given(entries=entries_lists, batch_size=st.integers(1, 5), step=st.integers(0, 100))
def test_a_step_does_not_depend_on_what_was_asked_before(entries, batch_size, step):
    used = plan(entries, seed=3, batch_size=batch_size)
    for earlier in range(step % 7):
        used(earlier)
    assert used(step) == plan(entries, seed=3, batch_size=batch_size)(step)


def test_passes_and_seeds_are_shuffled_differently():
    entries = [Entry((64, 64)) for _ in range(10)]
    draws = drawn(plan(entries, seed=0, batch_size=2), 10)
    assert draws[:10] != draws[10:]
    assert draws != drawn(plan(entries, seed=1, batch_size=2), 10)


def test_sizes_are_gathered_so_that_few_batches_are_split():
    entries = [Entry(SIZES[i % 3]) for i in range(60)]
    at = plan(entries, seed=0, batch_size=4)
    # 20 pictures of each size fill 5 batches each: no batch of the first pass needs to be split.
    assert all(len(at(step)) == 1 for step in range(15))


def test_batches_stay_whole_when_a_pass_ends_in_the_middle_of_a_step():
    entries = [Entry(SIZES[i % 3]) for i in range(63)]
    at = plan(entries, seed=0, batch_size=4)
    # 21 pictures of each size fill 15 batches in each of four passes, and three are left over each time.
    assert sum(len(at(step)) == 1 for step in range(63)) >= 60


def test_a_lone_shape_shares_a_step_and_is_not_repeated_to_fill_it():
    entries = [Entry((64, 64)) for _ in range(7)] + [Entry((48, 80))]
    at = plan(entries, seed=0, batch_size=4)
    lone = [batch for step in range(2) for batch in at(step) if 7 in batch.indices]
    assert [batch.indices for batch in lone] == [(7,)]


def with_classes() -> list[Entry]:
    subject = [Entry((64, 64), concept=0) for _ in range(3)] + [Entry((64, 64), concept=1) for _ in range(5)]
    return subject + [Entry((64, 64), concept=0, is_class=True) for _ in range(4)]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_class_rows_follow_the_subject_and_weigh_lambda(batch_size, accumulation):
    entries = [Entry((64, 64)) for _ in range(5)] + [Entry((64, 64), is_class=True) for _ in range(7)]
    at = plan(entries, seed=0, batch_size=batch_size, accumulation=accumulation, class_weight=0.3)
    for step in range(9):
        batches = at(step)
        assert len(batches) == accumulation
        for batch in batches:
            is_class = [entries[i].is_class for i in batch.indices]
            assert is_class == [False] * batch_size + [True] * batch_size
            assert batch.weights == pytest.approx([1 / batch_size] * batch_size + [0.3 / batch_size] * batch_size)


def test_class_images_are_drawn_in_passes_of_their_own():
    entries = [Entry((64, 64)) for _ in range(5)] + [Entry((64, 64), is_class=True) for _ in range(7)]
    at = plan(entries, seed=0, batch_size=2)
    classes = [i for step in range(14) for batch in at(step) for i in batch.indices if entries[i].is_class]
    assert len(classes) == 28
    for turn in range(4):
        assert sorted(classes[7 * turn : 7 * turn + 7]) == list(range(5, 12))


def test_class_images_go_with_their_own_concept_only():
    entries = with_classes()
    at = plan(entries, seed=2, batch_size=4)
    classes = []
    for step in range(24):
        indices = [i for batch in at(step) for i in batch.indices]
        subject = [i for i in indices if not entries[i].is_class]
        assert len(indices) - len(subject) == sum(entries[i].concept == 0 for i in subject)
        classes += [i for i in indices if entries[i].is_class]
    # 96 draws are 12 passes over 8 pictures, 3 of them with a class: 36 draws, 9 passes over the 4 class images.
    assert Counter(classes) == dict.fromkeys(range(8, 12), 9)


def test_class_images_of_another_size_get_a_forward_pass_of_their_own():
    entries = [Entry((48, 80)) for _ in range(4)] + [Entry((64, 64), is_class=True) for _ in range(4)]
    subject, classes = plan(entries, seed=0, batch_size=2, class_weight=0.5)(0)
    assert [entries[i].is_class for i in subject.indices + classes.indices] == [False, False, True, True]
    # Averaged over the two, the subject weighs one and the class one half.
    assert sum(subject.weights) / 2 == pytest.approx(1.0)
    assert sum(classes.weights) / 2 == pytest.approx(0.5)


def test_only_class_images_are_refused():
    with pytest.raises(DataError, match="only class images"):
        plan([Entry((64, 64), is_class=True)], seed=0, batch_size=1)


def test_a_cycle_draws_every_picture_of_every_concept_once():
    entries = [Entry(SIZES[0], concept=i % 4) for i in range(12)]
    draws = drawn(plan(entries, seed=5, batch_size=1), 36)
    for turn in range(3):
        assert sorted(draws[12 * turn : 12 * turn + 12]) == list(range(12))
        assert Counter(i % 4 for i in draws[12 * turn : 12 * turn + 12]) == dict.fromkeys(range(4), 3)
    assert draws == drawn(plan(entries, seed=5, batch_size=1), 36)


@given(sizes=st.lists(st.integers(1, 5), min_size=2, max_size=5), batch_size=st.integers(1, 4))
def test_balanced_draws_call_every_concept_equally_often(sizes, batch_size):
    entries = [Entry(SIZES[i % 3], concept=c) for c, size in enumerate(sizes) for i in range(size)]
    draws = drawn(plan(entries, seed=1, batch_size=batch_size, sampler="balanced"), 60)
    concepts = [entries[i].concept for i in draws]
    for end in range(len(draws) + 1):
        counts = Counter(concepts[:end])
        assert max(counts[c] for c in range(len(sizes))) - min(counts[c] for c in range(len(sizes))) <= 1
    for concept, size in enumerate(sizes):
        own = [i for i in draws if entries[i].concept == concept]
        for start in range(0, len(own) - size + 1, size):
            assert len(set(own[start : start + size])) == size


def test_balanced_draws_are_joined_by_their_own_class():
    entries = [Entry(SIZES[0], concept=c, is_class=k) for c in range(3) for k in (False, True, True)]
    at = plan(entries, seed=0, batch_size=2, sampler="balanced")
    seen = []
    for step in range(9):
        (batch,) = at(step)
        concepts = [entries[i].concept for i in batch.indices]
        assert concepts[:2] == concepts[2:]
        seen += batch.indices[2:]
    assert Counter(seen) == {i: 3 for i, entry in enumerate(entries) if entry.is_class}
