"""What a run shows of itself: one self-contained page, and the model card beside the exported files."""
