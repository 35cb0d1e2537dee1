"""The recipes that come with maquette: TOML files in the package, one for each goal, family and method."""

from maquette.config.packaged import packaged_names, packaged_text, summary

FOLDER = "presets"


def preset_names() -> list[str]:
    """The names of all recipes, in order."""
    return packaged_names(FOLDER)


def preset_text(name: str) -> str:
    """The TOML text of one recipe.

    Raises ConfigError for an unknown name, with the nearest one.
    """
    return packaged_text(FOLDER, name, "preset")


def preset_summary(name: str) -> str:
    """What one recipe is for."""
    return summary(preset_text(name))
