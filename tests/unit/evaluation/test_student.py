"""Intervals of the mean of a few values, against the distribution itself."""

import pytest
from scipy.stats import t

from maquette.evaluation.student import mean_interval, quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 11, 30, 1000])
def test_the_quantile_is_that_of_the_distribution(freedom):
    assert quantile(freedom) == pytest.approx(t.ppf(0.975, freedom), rel=2e-3)


def test_the_interval_is_the_textbooks():
    low, high = mean_interval([1.0, 2.0, 3.0, 6.0])
    expected = t.interval(0.95, 3, loc=3.0, scale=(14 / 3) ** 0.5 / 2)
    assert (low, high) == pytest.approx(expected, abs=0.01)
