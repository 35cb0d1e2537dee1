from dataclasses import replace

import pytest
import torch
from tests.unit.evaluation.fakes import coded, fake_networks, fake_set, rows
from torchmetrics.image.kid import poly_mmd

from maquette.errors import DataError
from maquette.evaluation import kernel
from maquette.evaluation.kernel import kernel_distance, kernel_interval, subset_distances
from maquette.evaluation.metric import EvalSet


def cloud(n: int, d: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def test_it_is_what_torchmetrics_computes():
    x, y = cloud(30, 10, 1), cloud(30, 10, 2, 0.3)  # theirs takes equal numbers alone
    assert kernel_distance(x, y) == pytest.approx(float(poly_mmd(x, y)), rel=1e-9)


def test_of_unequal_numbers_it_is_the_definition():
    x, y = cloud(7, 5, 1), cloud(4, 5, 2, 0.5)

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a @ b / 5 + 1) ** 3)

    within_x = sum(k(x[i], x[j]) for i in range(7) for j in range(7) if i != j) / 42
    within_y = sum(k(y[i], y[j]) for i in range(4) for j in range(4) if i != j) / 12
    across = sum(k(a, b) for a in x for b in y) / 28
    assert kernel_distance(x, y) == pytest.approx(within_x + within_y - 2 * across)


def test_of_two_draws_of_one_cloud_it_is_nothing_on_average_however_few():
    values = torch.tensor([kernel_distance(cloud(5, 4, seed), cloud(5, 4, 1000 + seed)) for seed in range(400)])
    assert abs(float(values.mean())) < 3 * float(values.std()) / 20


def test_the_interval_is_as_wide_as_repeating_the_experiment_shows():
    y, whole = cloud(50, 6, 2), cloud(5000, 6, 1, 0.5)
    repeats = torch.tensor([kernel_distance(part, y) for part in whole.split(50)])
    low, high = kernel_interval(whole[:50], y)
    assert low < kernel_distance(whole[:50], y) < high
    assert (high - low) / (2 * 1.96) == pytest.approx(float(repeats.std()), rel=0.35)


def test_subsets_have_the_mean_of_the_whole_and_repeat(monkeypatch):
    x, y = cloud(60, 6, 1, 0.4), cloud(50, 6, 2)
    values = subset_distances(x, y, size=20, count=200)
    assert torch.equal(values, subset_distances(x, y, size=20, count=200))
    assert float(values.mean()) == pytest.approx(kernel_distance(x, y), abs=4 * float(values.std()) / 200**0.5)

    pictures, networks = fake_set(per_prompt=8), fake_networks()
    whole = kernel.kernel(networks)(pictures)
    monkeypatch.setattr(kernel, "SUBSET", 12)
    parts = kernel.kernel(networks)(pictures)
    assert parts.low < parts.value < parts.high
    assert parts.low < whole.value < parts.high


@pytest.mark.parametrize(("n", "m"), [(40, 80), (120, 80)])
def test_the_interval_of_many_is_as_wide_as_repeating_the_experiment_shows(monkeypatch, n, m):
    """Of more references than a subset holds, and of more pictures; the references stay."""
    y, whole = cloud(m, 6, 2), cloud(60 * n, 6, 1, 0.5)
    chance = float(torch.tensor([kernel_distance(x, y) for x in whole.split(n)]).std())
    networks = replace(fake_networks(), distribution=rows(torch.cat([whole[:n], y]).tolist()))
    made, real = [coded(i) for i in range(n)], [coded(n + i) for i in range(m)]
    monkeypatch.setattr(kernel, "SUBSET", 50)
    score = kernel.kernel(networks)(EvalSet(made, ["noise"] * n, ["noise"] * n, {"noise": real}))
    assert score.low < score.value < score.high
    assert (score.high - score.low) / (2 * 1.96) == pytest.approx(chance, rel=0.35)


def test_one_picture_is_refused():
    with pytest.raises(DataError, match="at least two of each"):
        kernel_distance(torch.zeros(1, 3), torch.zeros(5, 3))
