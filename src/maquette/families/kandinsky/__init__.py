"""Kandinsky 2.2: a prior from text to image embeddings, and a decoder from image embeddings to pictures."""
