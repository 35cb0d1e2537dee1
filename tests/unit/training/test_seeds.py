"""Random streams are pure functions of their keys, the same on every machine."""

import torch

from maquette.training.seeds import global_generators, key_at, rng_at


def test_keys_are_the_same_on_every_machine_and_in_every_version():
    """Changing one would change every run; the first 63 bits of sha256 of "seed/step/index/stream"."""
    assert key_at(0, 0) == 2871462895405466807
    assert key_at(0, 1, 2, "data") == 2084906130754807026


def test_every_part_of_a_key_makes_another_stream():
    keys = [
        key_at(seed, step, index, stream)
        for seed in (0, 1)
        for step in (0, 1, 10)
        for index in (0, 1, 11)
        for stream in ("noise", "data")
    ]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**63 for key in keys)


def test_a_stream_is_drawn_alike_whatever_happened_before():
    first = torch.randn(5, generator=rng_at(0, 3))
    torch.manual_seed(1)
    torch.randn(7)
    assert torch.equal(torch.randn(5, generator=rng_at(0, 3)), first)


def test_global_generators_are_seeded_inside_and_untouched_outside():
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    with global_generators(9):
        inside = torch.randn(3)
    assert torch.equal(torch.randn(3), expected)
    with global_generators(9):
        assert torch.equal(torch.randn(3), inside)


def test_global_generators_draw_what_torch_draws_from_that_seed():
    with global_generators(9):
        inside = torch.randn(3), torch.rand(2)
    torch.manual_seed(9)
    assert all(torch.equal(a, b) for a, b in zip(inside, (torch.randn(3), torch.rand(2)), strict=True))


def test_global_generators_are_given_back_when_the_block_fails():
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    try:
        with global_generators(9):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert torch.equal(torch.randn(3), expected)
