"""What a run would be, told before it is started and without its weights."""
