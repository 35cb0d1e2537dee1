"""The one training loop and what it is given: randomness, objectives, optimisers, schedules, checkpoints."""
