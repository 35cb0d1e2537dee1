import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from tests.unit.evaluation.fakes import fake_networks, fake_set
from torchmetrics.image.fid import _compute_fid

from maquette.errors import DataError
from maquette.evaluation.frechet import frechet, frechet_distance, frechet_interval


def cloud(n: int, d: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(d, d, generator=generator, dtype=torch.float64) / d**0.5
    return scale * torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixed + 0.1 * seed


def white(n: int, d: int, seed: int) -> torch.Tensor:
    """Rows whose mean is exactly 0 and whose covariance is exactly the identity."""
    rows = cloud(n, d, seed)
    rows = rows - rows.mean(0)
    return rows @ torch.linalg.inv(torch.linalg.cholesky(rows.T @ rows / (n - 1))).T


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 16), (40, 25, 64), (10, 200, 32)])
def test_it_is_what_torchmetrics_computes(n: int, m: int, d: int):
    x, y = cloud(n, d, 1), cloud(m, d, 2, 1.5)
    theirs = _compute_fid(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T))
    # Where covariances are singular, eigenvalues of theirs that ought to be 0 are 1e-15 or so, and roots are taken.
    assert frechet_distance(x, y) == pytest.approx(float(theirs), rel=1e-6)


def test_it_is_what_the_root_of_a_matrix_gives():
    x, y = cloud(90, 20, 3), cloud(70, 20, 4)
    a, b = np.cov(x.numpy().T), np.cov(y.numpy().T)
    shift = x.mean(0) - y.mean(0)
    expected = float(shift @ shift) + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_of_gaussians_with_axes_it_is_the_closed_form():
    roots, others = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([2.0, 2.0, 0.5]).double()
    x, y = white(50, 3, 1) * roots + 5, white(40, 3, 2) * others + 4
    # Independent axes: squared differences of means and of deviations.
    assert frechet_distance(x, y) == pytest.approx(3.0 + float((roots - others).square().sum()), rel=1e-9)


@pytest.mark.parametrize("d", [64, 2048])
def test_of_a_cloud_and_itself_it_is_nothing_at_any_width(d: int):
    x = cloud(12, 64, 5) @ torch.eye(64, d, dtype=torch.float64)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + 2) == pytest.approx(4 * d, rel=1e-9)
    turned = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    y = cloud(30, 64, 6)
    assert frechet_distance(x[:, :64] @ turned, y @ turned) == pytest.approx(frechet_distance(x[:, :64], y), rel=1e-9)


def test_the_interval_covers_the_value_and_narrows_with_more_pictures():
    y = cloud(60, 8, 2)
    widths = []
    for n in (20, 320):
        x = cloud(n, 8, 1)
        low, high = frechet_interval(x, y)
        assert 0 <= low < frechet_distance(x, y) < high
        widths.append(high - low)
    assert 2.5 < widths[0] / widths[1] < 7  # √16 = 4


def test_the_interval_is_as_wide_as_repeating_the_experiment_shows():
    y = cloud(60, 4, 2)
    whole = cloud(6000, 4, 1)
    repeats = torch.tensor([frechet_distance(part, y) for part in whole.split(60)])
    ends = torch.tensor([frechet_interval(part, y) for part in whole.split(60)[:10]])
    # The deviation of one interval's width is a quarter of it, of the mean of ten 8 %; that of 100 repeats is 7 %.
    assert float((ends[:, 1] - ends[:, 0]).mean()) / (2 * 1.96) == pytest.approx(float(repeats.std()), rel=0.25)


def test_few_pictures_are_warned_of_and_too_few_refused():
    score = frechet(fake_networks())(fake_set(per_prompt=3))
    assert score.warnings == (
        "6 pictures in 12 dimensions: compare only with scores of as many pictures, as fewer make it larger",
    )
    assert score.per_image is None
    with pytest.raises(DataError, match="at least two of each"):
        frechet_distance(torch.zeros(5, 3), torch.zeros(1, 3))
    with pytest.raises(DataError, match="width 3 and 4"):
        frechet_distance(torch.zeros(5, 3), torch.zeros(5, 4))
