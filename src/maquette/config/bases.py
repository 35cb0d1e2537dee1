"""What is known of a base by its name or by its settings alone, before anything of it is loaded."""

import json
from pathlib import Path

PLAYGROUND = "playgroundai/playground-v2.5-1024px-aesthetic"
"""The published base with EDM preconditioning."""


def is_edm(base: str) -> bool:
    """Whether a hub id or a folder in diffusers' layout is that of a denoiser preconditioned as in Karras et al. 2022.

    False where nothing says so: the folder may be gone, and a single file is not opened.
    """
    file = Path(base).expanduser() / "scheduler" / "scheduler_config.json"
    try:
        return str(json.loads(file.read_text(encoding="utf-8")).get("_class_name")).startswith("EDM")
    except (OSError, ValueError, AttributeError):
        return base == PLAYGROUND
