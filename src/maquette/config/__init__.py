"""What a run is told: one schema, and the reading, checking, printing and comparing of its values."""
