"""A pack as its configuration says it -> a plain one: each folder a concept; its rank, steps and tokens as numbers."""

from collections.abc import Iterator
from pathlib import Path

from maquette.config.adapter import FullConfig, NoAdapterConfig
from maquette.config.data import ConceptConfig
from maquette.config.layers import Layer
from maquette.config.load import checked
from maquette.config.pack import NAME, PackConfig
from maquette.config.schema import RunConfig
from maquette.data.folder import Listing, list_folder
from maquette.data.tags import TAG_FILE, read_tag_file
from maquette.errors import ConfigError, DataError


def unpacked(config: RunConfig) -> RunConfig:
    """The same run with concepts, adapter.rank, training.steps and tokens.placeholders written out.

    Without a pack it is as it was. Doing it twice changes nothing, so a run's own stored settings can be read again.
    Raises ConfigError where a number is set to something else than the pack makes of it, or where what it makes cannot
    be; DataError where the folder holds no folders of pictures.
    """
    pack = config.pack
    if pack is None:
        return config
    tree = config.model_dump()
    concepts = config.concepts
    if config.data.folder is not None:
        concepts = tuple(concepts_in(config.data.folder, pack, config.data.prompt))
        tree["concepts"] = [concept.model_dump() for concept in concepts]
        tree["data"] |= {"folder": None, "prompt": None}
    if not concepts:
        raise ConfigError("A pack needs concepts: name a folder of folders (maquette train styles/), or [[concepts]].")
    if pack.rank_per_concept is not None and not isinstance(config.adapter, FullConfig | NoAdapterConfig):
        rank, given = pack.rank_per_concept * len(concepts), config.adapter.model_fields_set
        _agree("adapter.rank", config.adapter.rank if "rank" in given else rank, rank, "rank_per_concept", concepts)
        tree["adapter"]["rank"] = rank
        if "lora_alpha" not in given:
            del tree["adapter"]["lora_alpha"]
    if pack.steps_per_concept is not None:
        steps, before = pack.steps_per_concept * len(concepts), config.training.steps
        _agree("training.steps", steps if before == "auto" else before, steps, "steps_per_concept", concepts)
        tree["training"]["steps"] = steps
    if pack.tokens_per_concept is not None:
        names = {
            concept.trigger: pack.tokens_per_concept for concept in concepts if concept.trigger and not concept.virtual
        }
        tree["tokens"] = {**(tree["tokens"] or {}), "placeholders": names}
        if config.tokens is not None and "placeholders" in config.tokens.model_fields_set:
            _agree("tokens.placeholders", config.tokens.placeholders, names, "tokens_per_concept", concepts)
    return checked(RunConfig, tree, [Layer("[pack]", tree)])


def _agree(key: str, given: object, wanted: object, name: str, concepts: tuple[ConceptConfig, ...]) -> None:
    if given != wanted:
        raise ConfigError(
            f"{key} is {given}, and pack.{name} makes it {wanted} for {len(concepts)} concepts. Remove one of the two."
        )


def concepts_in(folder: Path, pack: PackConfig, prompt: str | None) -> Iterator[ConceptConfig]:
    """The concept of each folder in a folder, in the order of their names; a tag file in it says its phrase and tags.

    prompt: the caption of all pictures, with "[trigger]" in it. Raises DataError for pictures beside the folders, for a
    folder without folders, and for virtual ones that are not there.
    """
    listing = list_folder(folder)
    names = sorted({path.relative_to(folder).parts[0] for path in listing.pictures})
    _check_layout(folder, listing, names, pack)
    for name in names:
        file = folder / name / TAG_FILE
        said = read_tag_file(file) if prompt is None and file.is_file() else None
        yield ConceptConfig(
            folder=folder / name,
            trigger=pack.trigger.replace(NAME, name),
            prompt=prompt,
            phrase=said.phrase if said else None,
            tags=said.tags if said else {},
            virtual=name in pack.virtual,
        )


def _check_layout(folder: Path, listing: Listing, names: list[str], pack: PackConfig) -> None:
    loose = [listing.name(path) for path in listing.pictures if path.parent == folder]
    if loose:
        raise DataError(
            f"{folder}: in a pack every folder in it is a concept, but pictures lie beside the folders: "
            f"{', '.join(loose)}. Move them into the folder of their concept, or train without [pack]."
        )
    if not names:
        raise DataError(f"{folder}: holds no folders of pictures. A pack has one folder for each concept.")
    empty = [path.name for path in sorted(folder.iterdir()) if path.is_dir() and path.name not in names]
    if unheard := [name for name in (*listing.skipped, *empty) if not name.startswith(".")]:
        raise DataError(
            f"{folder}: folders in it hold no pictures that are read: {', '.join(unheard)}. Move them away."
        )
    if absent := [name for name in pack.virtual if name not in names]:
        raise ConfigError(f"pack.virtual: {folder} has no folder {', '.join(absent)}; it has {', '.join(names)}.")
