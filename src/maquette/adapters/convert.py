"""Adapter files from one dialect into the other, and into their base, without training anything."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from maquette.adapters.about import About
from maquette.adapters.bases import layout_of_base, published_layouts
from maquette.adapters.delta import Delta
from maquette.adapters.embeddings import knowing
from maquette.adapters.export import Precision, export_adapter
from maquette.adapters.files import write_tensors
from maquette.adapters.keys import Dialect, Layout, layout_of
from maquette.adapters.read import AdapterFile, parts_of, read_adapter
from maquette.adapters.worn import Worn, fuse
from maquette.errors import CheckpointError, ConfigError
from maquette.families import single_file
from maquette.families.base import Family
from maquette.families.folder import save_folder
from maquette.families.load import BESIDE, load_family
from maquette.families.placement import DTYPES
from maquette.families.sd import StableDiffusion
from maquette.families.sdxl import StableDiffusionXL
from maquette.families.vocabulary import make_one_table
from maquette.families.weights import some

logger = logging.getLogger(__name__)


def convert(
    source: Path, target: Path, dialect: Dialect, *, base: str | None = None, precision: Precision = "fp32"
) -> AdapterFile:
    """Write an adapter file in another dialect, proven; the description that the old one carries is kept.

    base: the model it belongs to, whose weights are not read; None recognises the published families by the file.
    Raises ConfigError where the target exists or is no .safetensors name, and what reading and writing raise.
    """
    if target.suffix != ".safetensors":
        raise ConfigError(f"--out {target}: an adapter is one file; give it a name that ends in .safetensors.")
    if target.exists():
        raise ConfigError(f"--out {target}: the file exists. Give another name, or remove it first.")
    read, layout = read_for(source, base)
    export_adapter(target, read.delta, layout, dialect, about_of(read, target.stem), precision=precision)
    return read


def read_for(source: Path, base: str | None) -> tuple[AdapterFile, Layout]:
    """An adapter file and the layout it belongs to.

    Raises CheckpointError, with the reason for each published family, where it belongs to none of them.
    """
    if base is not None:
        layout = layout_of_base(base)
        return read_adapter(source, layout), layout
    problems = []
    for name, layout in published_layouts():
        try:
            return read_adapter(source, layout), layout
        except CheckpointError as problem:
            problems.append(f"as {name}: {problem}")
    raise CheckpointError(
        "The adapter fits none of the published families; say which base it is for with --base.\n" + "\n".join(problems)
    )


def about_of(read: AdapterFile, title: str) -> About:
    """What the old file says of itself, for the new one."""
    known = read.metadata
    size = known.get("modelspec.resolution", "").split("x")
    training = {key.removeprefix("ss_"): known[key] for key in sorted(known) if key.startswith("ss_")}
    prediction = known.get("modelspec.prediction_type")
    return About(
        title=known.get("modelspec.title", title),
        trigger=known.get("modelspec.trigger_phrase"),
        size=(int(size[1]), int(size[0])) if len(size) == 2 and all(part.isdigit() for part in size) else None,
        prediction="v" if prediction == "v" else "epsilon" if prediction == "epsilon" else None,
        date=known.get("modelspec.date"),
        author=known.get("modelspec.author"),
        license=known.get("modelspec.license"),
        description=known.get("modelspec.description"),
        training={key: value for key, value in training.items() if not key.startswith(DERIVED)},
    )


DERIVED = ("v2", "base_model_version", "output_name", "network_")
"""kohya's keys that follow from the adapter itself, and are written anew."""


def fuse_into(
    base: str,
    adapters: Sequence[tuple[Path, float]],
    target: Path,
    *,
    precision: Precision = "fp32",
    tokenizer: str | None = None,
    prior: str | None = None,
) -> None:
    """Write a base with adapters, each at its strength, multiplied into its weights.

    target: a new folder for diffusers, or a name ending in .safetensors for a single file in the original layout.
    precision: of the denoiser and the text encoders; the autoencoder keeps the base's. tokenizer: vocabulary for a
    single-file base. prior: that of a decoder of Kandinsky 2.2.
    Raises ConfigError where the target exists, and what loading, reading and writing raise.
    """
    if target.exists():
        raise ConfigError(f"--out {target}: it exists already. Give another name, or remove it first.")
    parts = [(*parts_of(path), strength) for path, strength in adapters]
    tokens = [file for _, file, _ in parts if file is not None]
    if tokens and target.suffix == ".safetensors":
        raise ConfigError(
            f"--out {target}: one file holds no tokenizer, so no new tokens ({some([t.name for t in tokens])}). Give a "
            "folder; or name the adapter's file itself with --adapter, and use the embedding file beside the result."
        )
    family = load_family(base, tokenizer=tokenizer, prior=prior)
    one_file = target.suffix == ".safetensors"
    if one_file and not isinstance(family, StableDiffusion | StableDiffusionXL):
        raise ConfigError(
            f"--out {target}: there is no layout of one file for this base ({family.name}). Give a folder."
        )
    layout = layout_of(family.modules)
    family = knowing(family, tokens)
    read = {path: read_adapter(path, layout).delta for path, _, _ in parts if path is not None}
    refuse_other_half(read, tokens, family)
    fuse(family.modules, [Worn(read[path], strength) for path, _, strength in parts if path is not None])
    make_one_table(family)
    for name, names in family.words.items():
        logger.warning('%s: it reads %s itself; write that where prompts said "%s".', target, "".join(names), name)
    for name, module in family.modules.items():
        if name != "vae":
            module.to(dtype=DTYPES[precision])
    if one_file:
        assert isinstance(family, StableDiffusion | StableDiffusionXL)
        write_tensors(target, single_file.tensors_of(family), single_file.metadata_of(family))
    else:
        save_folder(family, target)


def refuse_other_half(adapters: Mapping[Path, Delta], tokens: Sequence[Path], family: Family) -> None:
    """Raise ConfigError, naming them, for files of a half that stands beside the base and is not written with it."""
    beside = BESIDE.get(family.name, ())
    lost = [str(path) for path, delta in adapters.items() if any(at.module in beside for at in delta)]
    if lost := lost + [str(path) for path in tokens if not family.tokenizers]:
        raise ConfigError(
            f"--adapter {', '.join(lost)}: changes the {beside[0]} beside the base, and only the base is written. Fuse "
            f"it by itself, with the {beside[0]} as its --base."
        )
