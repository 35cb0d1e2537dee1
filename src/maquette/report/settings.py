"""A configuration as tables: every setting with its value, its default and its meaning, in the order of the schema."""

from collections.abc import Iterator
from dataclasses import dataclass

from maquette.config.keys import Table, sections_in, tables
from maquette.config.schema import RunConfig
from maquette.config.section import Section
from maquette.config.toml import toml_value
from maquette.report.privacy import named, without_paths

UNSET = "unset"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its dotted path, value and default as TOML spells them ("unset" for none), and its meaning."""

    path: str
    value: str
    default: str
    meaning: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def is_changed(self) -> bool:
        """Whether this run departs from the default."""
        return self.value != self.default


@dataclass(frozen=True, slots=True)
class Group:
    """One section of the configuration: its dotted path, its purpose, and its settings."""

    path: str
    meaning: str
    settings: tuple[Setting, ...]


def settings_of(config: RunConfig) -> list[Group]:
    """Every section that the run has, with all of its settings. Absolute paths are cut to their last part."""
    return [group for path, table in tables().items() if path for group in _groups(config, table)]


def changed(groups: list[Group]) -> list[Setting]:
    """The settings in which a run departs from the defaults."""
    return [setting for group in groups for setting in group.settings if setting.is_changed]


def _groups(config: RunConfig, table: Table) -> Iterator[Group]:
    value, usual = _at(config, table.path), _at(RunConfig(), table.path)
    several = value if isinstance(value, tuple) else (value,)
    for i, section in enumerate(several):
        if isinstance(section, Section):
            path = f"{table.path}.{i}" if isinstance(value, tuple) else table.path
            settings = tuple(_settings(section, usual, path))
            if settings:
                yield Group(path, _sentence(section.__doc__), settings)


def _settings(section: Section, usual: object, path: str) -> Iterator[Setting]:
    for name, field in sorted(type(section).model_fields.items(), key=lambda item: item[0] != "kind"):
        if sections_in(field.annotation):
            continue
        if name == "kind":
            default = getattr(usual, "kind", None)
        elif field.is_required():
            default = None
        else:
            default = field.get_default(call_default_factory=True, validated_data=dict(section))
        meaning = "" if name == "kind" else _sentence(field.description)
        yield Setting(f"{path}.{name}", _shown(getattr(section, name)), _shown(default), meaning)


def _at(config: RunConfig, path: str) -> object:
    value: object = config
    for part in path.split("."):
        value = getattr(value, part, None)
    return value


def _shown(value: object) -> str:
    match value:
        case None:
            return UNSET
        case str():
            return toml_value(named(value) if value.count("\n") == 0 and value.startswith(("/", "~")) else value)
        case _:
            return without_paths(toml_value(value))


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())
