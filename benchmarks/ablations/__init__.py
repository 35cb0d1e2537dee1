"""What each way to learn changes, on held-out subjects and styles of the embedded world."""
