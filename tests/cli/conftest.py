"""Tiny bases for every test of commands."""

from tests.learning.small import bases

__all__ = ["bases"]
