"""Scores of pictures: what they show, whom they resemble, and how well they follow their prompts."""
