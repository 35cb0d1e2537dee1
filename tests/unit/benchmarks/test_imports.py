"""Benchmarks use the package as it is now: nothing else in the suite would notice a name that has moved."""

import importlib
import pkgutil

import benchmarks
import pytest

MODULES = [module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")]


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_can_be_imported(name: str):
    importlib.import_module(name)
