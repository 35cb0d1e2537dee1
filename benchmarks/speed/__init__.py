"""Training speed, side by side: python -m benchmarks.speed --help."""
