"""Measurements that the documentation quotes, each a command that prints its numbers."""
