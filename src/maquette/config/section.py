"""What every section of the configuration has in common: frozen values, no unknown keys, docstrings as descriptions."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """One table of the configuration: immutable, strict about its keys, documented by its attributes' docstrings."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


class RelativeToFile:
    """Marks a value that names a file or folder: in a TOML file it is relative to that file."""


class NameOrPath(RelativeToFile):
    """Marks a value that is relative to its file only where there is such a file; else it is a name."""


def _named(value: object) -> object:
    if value == "":  # which pathlib would take for the working directory
        raise PydanticCustomError("string_too_short", "a path that is not empty")
    return value


LocalPath = Annotated[Path, RelativeToFile(), BeforeValidator(_named), Field(strict=False)]
"""A file or folder on this machine."""

LocalOrHub = Annotated[str, NameOrPath(), Field(min_length=1)]
"""A file or folder on this machine, or else a name (of an embedded model, or of a model on the hub)."""

Text = Annotated[str, Field(min_length=1)]
"""Any text but the empty one."""

Texts = Annotated[tuple[Text, ...], Field(strict=False)]
"""Several texts, as an array in TOML."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A share, from 0 to 1."""

Positive = Annotated[float, Field(gt=0)]
"""A number above 0."""

Whole = Annotated[int, Field(ge=0)]
"""A whole number, 0 included."""

Count = Annotated[int, Field(ge=1)]
"""A whole number of at least 1."""
