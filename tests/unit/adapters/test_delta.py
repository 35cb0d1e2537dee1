import itertools

import pytest
import torch

from maquette.adapters.delta import Dense, Loha, Lokr, LowRank, Update, lengths, product, rank, updated

RNG = torch.Generator().manual_seed(0)


def draw(*shape):
    return torch.randn(shape, generator=RNG)


def test_low_rank_is_the_sum_over_ranks_of_outer_products():
    up, down = draw(5, 2), draw(2, 3)
    by_hand = sum(0.5 * torch.outer(up[:, i].double(), down[i].double()) for i in range(2))
    torch.testing.assert_close(product(LowRank(up, down, 0.5), torch.Size([5, 3])), by_hand)


def test_a_convolution_runs_one_after_the_other():
    up, down, x = draw(5, 2, 1, 1), draw(2, 3, 3, 3), draw(1, 3, 6, 6)
    kernel = product(LowRank(up, down, 1.0), torch.Size([5, 3, 3, 3])).float()
    apart = torch.conv2d(torch.conv2d(x, down, padding=1), up)
    torch.testing.assert_close(torch.conv2d(x, kernel, padding=1), apart)


def test_loha_multiplies_elementwise():
    a, b, c, d = draw(4, 2), draw(2, 3), draw(4, 2), draw(2, 3)
    change = product(Loha(a, b, c, d, 2.0), torch.Size([4, 3]))
    for i, j in itertools.product(range(4), range(3)):
        assert change[i, j].item() == pytest.approx(2 * (a[i] @ b[:, j] * (c[i] @ d[:, j])).item(), rel=1e-5)


def test_loha_with_cores_sums_over_both_ranks():
    t1, t2 = draw(2, 2, 3, 3), draw(2, 2, 3, 3)
    a1, b1, a2, b2 = draw(2, 4), draw(2, 5), draw(2, 4), draw(2, 5)
    change = product(Loha(a1, b1, a2, b2, 1.0, t1, t2), torch.Size([4, 5, 3, 3]))
    kernels = [
        sum(a[i, 3] * b[j, 2] * t[i, j, 1, 0] for i in range(2) for j in range(2))
        for t, a, b in ((t1, a1, b1), (t2, a2, b2))
    ]
    assert change[3, 2, 1, 0].item() == pytest.approx((kernels[0] * kernels[1]).item(), rel=1e-5)


@pytest.mark.parametrize("flattened", [False, True])
def test_lokr_is_a_kronecker_product_also_of_kernels(flattened):
    w1, w2 = draw(2, 3), draw(4, 5, 3, 3)
    right = {"w2_a": w2.reshape(4, 45), "w2_b": torch.eye(45)} if flattened else {"w2": w2}
    change = product(Lokr(3.0, w1=w1, **right), torch.Size([8, 15, 3, 3]))
    for i, j in itertools.product(range(8), range(15)):
        expected = 3 * w1[i // 4, j // 5] * w2[i % 4, j % 5]
        torch.testing.assert_close(change[i, j].float(), expected)


@pytest.mark.parametrize(("axis", "others"), [("out", (1, 2, 3)), ("in", (0, 2, 3))])
def test_magnitudes_are_the_lengths_of_the_new_weight(axis, others):
    weight, change = draw(4, 3, 2, 2), draw(4, 3, 2, 2)
    magnitude = draw(4 if axis == "out" else 3).abs() + 0.1
    new = updated(weight, Update(Dense(change), magnitude, axis))
    torch.testing.assert_close(new.square().sum(others).sqrt(), magnitude.double())
    torch.testing.assert_close(lengths(new, axis), magnitude.double())
    cosine = torch.cosine_similarity(new.flatten(), (weight + change).double().flatten(), dim=0)
    assert 0 < cosine < 1  # the lengths of single rows moved; their directions are compared next
    moved = new.movedim(0 if axis == "out" else 1, 0).flatten(1)
    plain = (weight + change).double().movedim(0 if axis == "out" else 1, 0).flatten(1)
    torch.testing.assert_close(torch.cosine_similarity(moved, plain), torch.ones_like(magnitude).double())


def test_strength_interpolates_plain_updates_and_not_dora():
    weight, factors = draw(4, 3), LowRank(draw(4, 2), draw(2, 3), 1.0)
    plain = [updated(weight, Update(factors), s) for s in (0.0, 0.5, 1.0)]
    torch.testing.assert_close(plain[0], weight.double())
    torch.testing.assert_close(plain[1], (plain[0] + plain[2]) / 2)
    dora = Update(factors, torch.full((4,), 2.0))
    ends = [updated(weight, dora, s) for s in (0.0, 0.5, 1.0)]
    torch.testing.assert_close(lengths(ends[0], "out"), torch.full((4,), 2.0).double())
    assert not torch.allclose(ends[1], (ends[0] + ends[2]) / 2, atol=1e-3)


def test_rank_is_that_of_the_factors_that_are_low():
    assert rank(LowRank(draw(4, 2), draw(2, 3), 1.0)) == 2
    assert rank(Lokr(1.0, w1=draw(2, 2), w2_a=draw(4, 3), w2_b=draw(3, 4))) == 3
    assert rank(Lokr(1.0, w1_a=draw(2, 1), w1_b=draw(1, 2), w2=draw(4, 4))) == 1
    assert rank(Lokr(1.0, w1=draw(2, 2), w2=draw(4, 4))) is None
