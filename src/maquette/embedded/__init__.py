"""The embedded world and the model trained on it: everything that works without a network."""
