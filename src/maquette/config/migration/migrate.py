"""From a training command to settings of ours that the schema accepts, and to remarks on all that is not among them."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

from pydantic import ValidationError

from maquette.config.answer import Foreign
from maquette.config.checks import Contradictions
from maquette.config.foreign import OTHERS, REFERENCE
from maquette.config.keys import tables
from maquette.config.kohya import KOHYA
from maquette.config.layers import Layer, Tree, default_layer, merged, put
from maquette.config.load import checked
from maquette.config.migration import diffusers_rules, kohya_rules
from maquette.config.migration.command import Command, Given
from maquette.config.migration.kohya_files import beside
from maquette.config.migration.kohya_rules import KOHYA_RULES, spread
from maquette.config.migration.plan import Asked, CountPictures, Outcome, Remark, Setting, plain
from maquette.config.migration.rules import RULES
from maquette.config.migration.scripts import DECODER, KOHYA_OPTIMIZERS, PRIOR
from maquette.config.schema import RunConfig


@dataclass(frozen=True, slots=True)
class Migrated:
    """The settings by key, as the schema accepts them, and the remarks."""

    settings: Mapping[str, Setting]
    remarks: tuple[Remark, ...]


def migrate(command: Command, count_pictures: CountPictures, also: Sequence[Outcome] = ()) -> Migrated:
    """What a command comes to.

    also: what is known already, from the files beside it. Raises ConfigError where the settings are not valid.
    """
    given, found = beside(command.given)
    if command.script.trainer == "kohya":
        given = spread(given)
    asked = Asked(command, {**_defaults(command, given), **given}, count_pictures)
    settings: dict[str, Setting] = {}
    remarks: list[Remark] = [
        Remark("needless", said, "the launcher's own; torchrun and accelerate launch start `maquette train` as well.")
        for said in command.launcher
    ]
    for outcome in (*also, *found, *_outcomes(asked)):
        if isinstance(outcome, Remark):
            remarks.append(outcome)
        elif not (outcome.is_default and outcome.key in settings and not settings[outcome.key].is_default):
            settings[outcome.key] = outcome
    remarks += _drop_other_kinds(settings)
    remarks += _drop_contradictions(settings)
    return Migrated(settings, tuple(remarks))


def answer(name: str, trainer: str) -> Foreign | None:
    """What a trainer's flag is here; its own table comes first, since names are shared and meanings are not."""
    tables_of = [*KOHYA.values(), *REFERENCE.values()] if trainer == "kohya" else [*REFERENCE.values()]
    return next((group[name] for group in (*tables_of, OTHERS) if name in group), None)


def _defaults(command: Command, given: Mapping[str, Given]) -> dict[str, Given]:
    script = command.script
    values = dict(script.defaults)
    if script.trainer == "kohya":
        optimizer = given.get("optimizer_type")
        values |= KOHYA_OPTIMIZERS.get(str(optimizer.value).lower(), {}) if optimizer else {}
        if "max_train_epochs" in given:
            del values["max_train_steps"]
    if "lora_rank" in given:
        values.pop("rank", None)
    if "height" in given and "width" in given:
        values.pop("resolution", None)
    own = f"default of {script.name}"
    return {name: Given(name, (value,), f"{own} ({name})", is_default=True) for name, value in values.items()}


def _outcomes(asked: Asked) -> Iterator[Outcome]:
    script = asked.script
    if script.defaults:
        yield Setting("adapter.kind", script.adapter, script.name, is_default=True)
    if script.kandinsky:
        halves = {"decoder": DECODER, "prior": PRIOR}
        for half, name in halves.items():
            key = "model.base" if half == script.kandinsky else f"model.{half}"
            yield Setting(key, name, f"default of {script.name}", is_default=True)
    yield from (kohya_rules if script.trainer == "kohya" else diffusers_rules).implied(asked)
    for flag in asked.given.values():
        for outcome in _one(flag, asked):
            if isinstance(outcome, Setting) or not flag.is_default or outcome.status == "open":
                yield outcome


def _one(flag: Given, asked: Asked) -> Iterator[Outcome]:
    entry = answer(flag.name, asked.script.trainer)
    rule = (KOHYA_RULES.get(flag.name) if asked.script.trainer == "kohya" else None) or RULES.get(flag.name)
    if entry is None:
        yield Remark("unknown", flag.said, "no flag of this name is known; if it matters, look for it in the manual.")
    elif rule is not None:
        yield from rule(flag, asked)
    elif entry.status == "mapped":
        yield from plain(flag, entry)
    else:
        yield Remark(entry.status, flag.said, f"{entry.note}.")


def _drop_other_kinds(settings: dict[str, Setting]) -> Iterator[Remark]:
    """Take out keys that the chosen kind of their section does not have, and say so where a person had set them."""
    for path, table in tables().items():
        chosen = settings.get(f"{path}.kind")
        if not table.is_union:
            continue
        kind = chosen.value if chosen else next(iter(table.kinds()))
        fields = table.class_of(kind).model_fields
        for key in [key for key in settings if key.startswith(f"{path}.")]:
            if key.removeprefix(f"{path}.").partition(".")[0] not in fields:
                setting = settings.pop(key)
                if not setting.is_default:
                    yield Remark("needless", setting.said, f'{path}.kind = "{kind}" has no {key.rpartition(".")[2]}.')


def _drop_contradictions(settings: dict[str, Setting]) -> Iterator[Remark]:
    """Take out what the other settings leave no meaning, until the schema accepts the rest."""
    while True:
        tree: Tree = {}
        for setting in settings.values():
            put(tree, setting.key.split("."), deepcopy(setting.value))  # sections grow in the tree
        layers = [default_layer(), Layer("what the command comes to", tree)]
        whole = merged(layers)
        try:
            RunConfig.model_validate(whole)
            return
        except ValidationError as error:
            causes = [details.get("ctx", {}).get("error") for details in error.errors(include_url=False)]
        problems = [problem for cause in causes if isinstance(cause, Contradictions) for problem in cause.problems]
        found = {
            key: problem
            for problem in problems
            for key in settings
            if key == problem.path or key.startswith(f"{problem.path}.")
        }
        if not found:
            checked(RunConfig, whole, layers)
        for key, problem in found.items():
            yield Remark("open", settings.pop(key).said, f"{problem.path} {problem.message}")
