"""The names that `import maquette` offers, pinned: a name here is documented, tested, and hard to change."""

import pytest

import maquette
from maquette import errors

PUBLIC = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Interrupted",
    "MaquetteError",
    "MissingDependencyError",
    "ModelError",
    "RunConfig",
    "__version__",
    "load_config",
]


def test_the_public_names_are_these():
    assert maquette.__all__ == PUBLIC
    assert dir(maquette) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_there(name: str):
    assert getattr(maquette, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        maquette.nonsense  # noqa: B018 - the access is what is tested


def test_errors_form_one_tree():
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(classes) == 8
    assert all(issubclass(each, errors.MaquetteError) for each in classes)
