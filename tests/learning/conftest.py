"""Tiny bases for every test of runs."""

from tests.learning.small import bases

__all__ = ["bases"]
