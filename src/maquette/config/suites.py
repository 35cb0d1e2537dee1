"""From the name of a packaged suite, or a TOML file of one's own, to a checked suite."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.config.layers import Layer, file_layer, merged, set_layer
from maquette.config.load import checked
from maquette.config.packaged import packaged_names, packaged_text, summary
from maquette.config.suite import SuiteConfig
from maquette.errors import ConfigError

FOLDER = "suites"


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite with its name, by which results are kept apart, and its purpose in one sentence."""

    name: str
    about: str
    config: SuiteConfig


def suite_names() -> list[str]:
    """The names of the suites that come with maquette."""
    return packaged_names(FOLDER)


def load_suite(name: str, sets: Sequence[str] = ()) -> Suite:
    """A packaged suite by its name, or one's own by its file, whose name ends in .toml.

    sets: "key=value" each, over what the file says. Raises ConfigError.
    """
    if name.endswith(".toml"):
        file = Path(name)
        if not file.is_file():
            raise ConfigError(f"--suite {name}: there is no such file. Packaged suites: {', '.join(suite_names())}.")
        layer = file_layer(file, SuiteConfig)
    else:
        text = packaged_text(FOLDER, name, "suite")
        layer = Layer(f"suite {name}", tomllib.loads(text), text)
    layers = [layer, set_layer(sets, SuiteConfig)]
    config = checked(SuiteConfig, merged(layers, SuiteConfig), layers)
    return Suite(Path(name).stem, _about(layer.text), config)


def _about(text: str) -> str:
    return summary(text) if text.startswith("#") else ""
