"""Model families: the one place that knows an architecture. Everything else meets them through ``base.Family``."""
