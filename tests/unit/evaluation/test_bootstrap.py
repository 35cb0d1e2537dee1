import math

import pytest
import torch

from maquette.errors import DataError
from maquette.evaluation import bootstrap
from maquette.evaluation.bootstrap import interval, interval_around, mean_interval, pair_interval, pair_mean


def normal(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def even(n: int) -> torch.Tensor:
    return torch.full((n,), 1 / n, dtype=torch.float64)


def test_the_interval_of_a_mean_is_as_wide_as_the_normal_law_says():
    values = normal(400, seed=1)
    low, high = mean_interval(values, even(400))
    expected = 2 * 1.96 * float(values.std(correction=0)) / math.sqrt(400)
    assert high - low == pytest.approx(expected, rel=0.06)  # the ends of 2000 draws vary by about 3 % each
    assert low < float(values.mean()) < high


def test_intervals_of_means_hold_the_true_mean_about_as_often_as_they_say():
    held = sum(low < 0 < high for low, high in (mean_interval(normal(40, seed), even(40)) for seed in range(200)))
    # 95 % nominal, about 94 % for forty pictures; the deviation of a share of 200 is 1.6 %.
    assert 0.88 < held / 200 < 0.985


def test_the_interval_of_a_mean_of_pairs_is_that_of_a_u_statistic():
    # Half the mean squared difference of pairs is the unbiased variance, whose deviation is √(2 / (n - 1)) for normal
    # values. Resampling the values of pictures one by one, as if they did not share pairs, would give half of it.
    n, widths = 150, []
    for seed in range(8):
        values = normal(n, seed)
        halves = (values[:, None] - values[None]).square() / 2
        pairs = torch.ones(n, n, dtype=torch.float64).fill_diagonal_(0)
        assert pair_mean(halves, pairs) == pytest.approx(float(values.var()))
        low, high = pair_interval(halves, pairs)
        widths.append(high - low)
    expected = 2 * 1.96 * math.sqrt(2 / (n - 1))
    assert sum(widths) / 8 == pytest.approx(expected, rel=0.15)


def test_weights_decide_what_counts():
    middle = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    low, high = mean_interval(torch.tensor([7.0, 3.0, 3.0, 7.0], dtype=torch.float64), middle)
    assert (low, high) == (3.0, 3.0)


def test_what_grows_with_repeats_is_laid_around_its_value():
    # A variance over n instead of n - 1: lower in nearly every draw than in the whole.
    values = normal(50, seed=3)
    spread = values.var()

    def deficient(counts: torch.Tensor) -> torch.Tensor:
        return counts @ values.square() / 50 - (counts @ values / 50).square()

    low, high = interval_around(float(spread), deficient, 50, bootstrap.DRAWS)
    assert (low + high) / 2 == pytest.approx(float(spread), abs=0.1 * (high - low))


def test_the_same_pictures_have_the_same_interval_and_memory_is_bounded(monkeypatch):
    values = normal(30, seed=5)
    assert mean_interval(values, even(30)) == mean_interval(values, even(30))
    sizes = []

    def statistic(counts: torch.Tensor) -> torch.Tensor:
        sizes.append(counts.numel())
        assert (counts.sum(1) == 30).all()
        return counts @ values / 30

    monkeypatch.setattr(bootstrap, "CELLS", 3000)
    low, high = interval(statistic, 30)
    assert max(sizes) <= 3000
    assert sum(sizes) == bootstrap.DRAWS * 30
    assert (low, high) == pytest.approx(mean_interval(values, even(30)), abs=0.05)


@pytest.mark.parametrize("n", [0, 1])
def test_one_picture_has_no_interval(n: int):
    with pytest.raises(DataError, match=r"take at least two. Generate more"):
        mean_interval(torch.zeros(n, dtype=torch.float64), torch.ones(n, dtype=torch.float64))
