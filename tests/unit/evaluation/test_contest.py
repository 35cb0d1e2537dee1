"""The contest's total, on ten results that teams published."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.evaluation.contest import Components

# dino, histogram, fid, lpips, clip_iqa, clip_r -> total. Source: S0's report (six rows), other teams' reports (four).
GOLDEN = [
    (0.2125, 0.747, 2.813, 0.3939, 0.7451, 0.62, 0.4251),
    (0.1916, 0.73, 3.8127, 0.4113, 0.7579, 0.7629, 0.4419),
    (0.1762, 0.6811, 3.1457, 0.4223, 0.7471, 0.8457, 0.4497),
    (0.1737, 0.7144, 3.272, 0.4154, 0.7463, 0.8586, 0.4648),
    (0.2078, 0.7663, 3.8347, 0.3976, 0.7459, 0.6843, 0.4359),
    (0.1921, 0.7456, 3.3376, 0.4114, 0.7591, 0.6771, 0.4278),
    (0.120226, 0.779055, 1.674596, 0.428658, 0.757711, 0.930667, 0.512078),
    (0.1130, 0.4388, 1.7101, 0.5391, 0.7567, 0.8293, 0.3274),
    (0.1318, 0.7977, 1.5406, 0.4342, 0.7273, 0.9067, 0.5119),
    (0.164997, 0.829148, 2.119416, 0.409496, 0.758036, 0.810667, 0.503971),
]


def of(dino: float, histogram: float, fid: float, lpips: float, clip_iqa: float, clip_r: float) -> Components:
    return Components(dino=dino, histogram=histogram, lpips=lpips, fid=fid, clip_iqa=clip_iqa, clip_r=clip_r)


@pytest.mark.parametrize("row", GOLDEN, ids=[str(row[-1]) for row in GOLDEN])
def test_the_published_totals_come_out(row):
    assert of(*row[:-1]).total == pytest.approx(row[-1], abs=6e-5)  # its parts are published to four digits


def test_the_two_factors_of_the_first_row():
    parts = of(*GOLDEN[0][:-1])
    assert parts.quality == pytest.approx(0.58374, abs=5e-6)
    assert parts.guard == pytest.approx(0.72825, abs=2e-5)


def test_a_distance_of_20_or_more_counts_nothing():
    assert of(0.2, 0.7, 20, 0.4, 0.7, 0.8).total == of(0.2, 0.7, 300, 0.4, 0.7, 0.8).total


share = st.floats(0.01, 0.9)


@given(share, share, st.floats(0, 19), share, share, share)
def test_every_component_moves_the_total_its_own_way(dino, histogram, fid, lpips, clip_iqa, clip_r):
    parts = [dino, histogram, fid, lpips, clip_iqa, clip_r]
    for i in range(6):
        more = of(*(value + 0.05 * (j == i) for j, value in enumerate(parts))).total
        assert (more > of(*parts).total) == (i not in (2, 3))  # the two distances
