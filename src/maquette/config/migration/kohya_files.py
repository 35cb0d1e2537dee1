"""Kohya's TOML files: one of settings (its sections mean nothing), and one that says which pictures there are."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from maquette.config.migration.command import Command, Given
from maquette.config.migration.plan import Outcome, Remark, Setting
from maquette.config.migration.scripts import KOHYA_DATA, KOHYA_SETTINGS
from maquette.config.toml import read_toml
from maquette.errors import ConfigError

Tree = Mapping[str, object]

_RENAMED = {"batch_size": "train_batch_size"}
_OF_ONE = ("image_dir", "class_tokens", "num_repeats", "is_reg")


def read_kohya(file: Path) -> tuple[Command, list[Outcome]]:
    """What a TOML file of kohya's asks for, and what its pictures come to.

    Raises ConfigError where it is neither a file of settings nor one of data.
    """
    tree, _ = read_toml(file)
    script = KOHYA_DATA if "datasets" in tree else KOHYA_SETTINGS
    given, outcomes = beside({"dataset_config" if script is KOHYA_DATA else "config_file": _given("", str(file))})
    if not given and not outcomes:
        raise ConfigError(f"{file}: holds no settings of kohya's sd-scripts.")
    return Command(script, given), outcomes


def beside(given: Mapping[str, Given]) -> tuple[dict[str, Given], list[Outcome]]:
    """The settings with those of the files that they name; what is said on the command line counts before a file.

    Raises ConfigError for a file that is named and is not there.
    """
    found = dict(given)
    outcomes: list[Outcome] = []
    if "config_file" in found:
        file = Path(str(found.pop("config_file").value))
        found = _settings(file if file.suffix else Path(f"{file}.toml")) | found
    if "dataset_config" in found:
        tree, _ = read_toml(Path(str(found.pop("dataset_config").value)))
        flags, outcomes = _data(tree)
        found = flags | found
    return found, outcomes


def _settings(file: Path) -> dict[str, Given]:
    tree, _ = read_toml(file)
    flat: dict[str, object] = {}
    for name, value in tree.items():
        flat |= value if isinstance(value, dict) else {name: value}
    return {name: _given(name, value) for name, value in flat.items() if value not in ("", None)}


def _data(tree: Tree) -> tuple[dict[str, Given], list[Outcome]]:
    datasets = [dataset for dataset in _tables(tree.get("datasets")) if _tables(dataset.get("subsets"))]
    shared = dict(_tables([tree.get("general", {})])[0])
    outcomes: list[Outcome] = []
    for number, dataset in enumerate(datasets):
        own = {name: value for name, value in dataset.items() if name != "subsets"}
        if number:
            outcomes += _differing(shared, own, f"[[datasets]] {number + 1}")
        else:
            shared |= own
    subsets = [subset for dataset in datasets for subset in _tables(dataset["subsets"])]
    learned = [subset for subset in subsets if not subset.get("is_reg")]
    for number, subset in enumerate(subsets):
        own = {name: value for name, value in subset.items() if name not in _OF_ONE}
        if number:
            outcomes += _differing(shared, own, f"[[datasets.subsets]] {number + 1}")
        else:
            shared |= own
    if len(learned) == 1:
        shared |= {name: value for name, value in learned[0].items() if name != "is_reg"}
    else:
        outcomes.append(Setting("concepts", [_concept(subset) for subset in learned], "[[datasets.subsets]]"))
    outcomes += _class_images([subset for subset in subsets if subset.get("is_reg")], is_one=len(learned) == 1)
    renamed = {_RENAMED.get(name, name): value for name, value in shared.items()}
    return {name: _given(name, value) for name, value in renamed.items()}, outcomes


def _concept(subset: Tree) -> dict[str, object]:
    concept: dict[str, object] = {"folder": str(subset.get("image_dir", ""))}
    if subset.get("class_tokens"):
        concept["prompt"] = str(subset["class_tokens"])
    if "num_repeats" in subset:
        concept["repeats"] = subset["num_repeats"]
    return concept


def _class_images(subsets: Sequence[Tree], *, is_one: bool) -> Iterator[Outcome]:
    for number, subset in enumerate(subsets):
        said = f"is_reg: {subset.get('image_dir')}"
        if number or not is_one:
            yield Remark("open", said, "add [class_images], and name it as class_folder in its [[concepts]].")
            continue
        yield Setting("class_images.folder", str(subset.get("image_dir", "")), said)
        if subset.get("class_tokens"):
            yield Setting("class_images.prompt", str(subset["class_tokens"]), said)


def _differing(shared: Tree, own: Tree, where: str) -> Iterator[Outcome]:
    for name, value in own.items():
        if shared.get(name) != value:
            yield Remark("open", f"{where}: {name} = {value}", "all pictures are treated alike; the first one counts.")


def _given(name: str, value: object) -> Given:
    values = tuple(value) if isinstance(value, list) else (value,)
    return Given(name, values, f"{name} = {value}")


def _tables(value: object) -> list[Tree]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []
