"""From what a person calls a base model to a loaded family."""

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path

from maquette.config.running import ModelConfig
from maquette.errors import ModelError
from maquette.families import hub
from maquette.families.base import Family
from maquette.families.parts import Options
from maquette.families.placement import Precision, choose_device
from maquette.families.quantized import Quantization, check_quantize
from maquette.families.weights import CONVERT, PICKLED, read_json

FAMILIES: Mapping[str, str] = {
    "StableDiffusionPipeline": "maquette.families.sd:load",
    "StableDiffusionXLPipeline": "maquette.families.sdxl:load",
    "KandinskyV22Pipeline": "maquette.families.kandinsky.decoder:load",
    "KandinskyV22PriorPipeline": "maquette.families.kandinsky.prior:load",
}
"""The pipeline class that model_index.json names -> "module:function", a Loader. Imported when it is used."""

HALVES: Mapping[str, str] = {"prior": "KandinskyV22PriorPipeline", "decoder": "KandinskyV22Pipeline"}
"""The settings of [model] that name the other half of a model -> its pipeline class."""

BESIDE: Mapping[str, Sequence[str]] = {
    "kandinsky-decoder": ("prior", "prior_text_encoder", "image_encoder"),
    "kandinsky-prior": ("decoder", "decoder_vae"),
}
"""A family's name -> its modules that are of the other half; that half's denoiser is the first."""

EMBEDDED: Mapping[str, Path] = {"maquette-64": Path(__file__).parent.parent / "embedded" / "weights" / "maquette-64"}
"""Base models that come with the package."""

Loader = Callable[[Path, Options], Family]

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def load_family(  # noqa: PLR0913 - one parameter for each setting of [model]
    base: str | Path,
    *,
    device: str = "cpu",
    precision: Precision = "fp32",
    revision: str | None = None,
    variant: str | None = None,
    vae: str | None = None,
    tokenizer: str | None = None,
    prior: str | None = None,
    decoder: str | None = None,
    beside: Precision | None = None,
    clip_skip: int = 0,
    quantize: Quantization = "none",
) -> Family:
    """A base model, its weights on a device and ready for inference.

    base: an embedded name ("maquette-64"), a diffusers folder, a single .safetensors checkpoint, or a hub id.
    revision, variant: of a hub id; a variant ("fp16") also of a folder.
    vae: folder or hub id of an autoencoder to use instead of the base's own.
    tokenizer: folder or hub id with the vocabulary, for a single file, which has none.
    prior, decoder: folder or hub id of the other half of Kandinsky 2.2; a decoder needs it, a prior for pictures.
    beside: how that half is held, where it is not as the base.
    clip_skip: how many of the text encoders' last layers to leave out.
    quantize: how the denoiser's linear layers are held; only adapters can then be trained.
    Raises ModelError, or ConfigError for a device or precision that there is not, or MissingDependencyError where
    quantizing needs a package, saying what to do.
    """
    place = choose_device(device)
    named = {half: name for half, name in (("prior", prior), ("decoder", decoder)) if name is not None}
    folders = {half: half_folder(half, name, variant, weights=place.type != "meta") for half, name in named.items()}
    options = Options(
        device=place,
        precision=precision,
        variant=variant,
        vae=None if vae is None else part_folder(vae, "vae"),
        **folders,
        beside=beside or precision,
        clip_skip=clip_skip,
        quantize=quantize,
    )
    check_quantize(quantize, options.device)
    path = locate(str(base), revision, variant, weights=options.device.type != "meta")
    if path.is_file():
        check_halves("single file", list(named))
        if revision or variant:
            raise ModelError(f"{path}: is one file, which has no revision or variant; leave them out.")
        from maquette.families import single_file  # here, since it imports every family

        return single_file.load(path, options, None if tokenizer is None else part_folder(tokenizer, "tokenizer"))
    if tokenizer is not None:
        raise ModelError(f"{path}: has a tokenizer of its own; leave model.tokenizer (--tokenizer) out.")
    check_halves(kind := detect(path), list(named))
    return loader(kind)(path, options)


def load_model(model: ModelConfig, *, device: str, precision: Precision | None = None) -> Family:
    """The base that a configuration asks for, as ``load_family`` loads it.

    precision: overrules the configuration's for the base itself, and not for another half beside it.
    """
    return load_family(
        model.base,
        device=device,
        precision=precision or model.precision,
        revision=model.revision,
        variant=model.variant,
        vae=model.vae,
        tokenizer=model.tokenizer,
        prior=model.prior,
        decoder=model.decoder,
        beside=model.precision,
        clip_skip=model.clip_skip,
        quantize=model.quantize,
    )


def load_shapes(model: ModelConfig) -> Family:
    """The base that a configuration asks for on the meta device: its configs and vocabularies, and no weights."""
    return load_model(model.model_copy(update={"quantize": "none"}), device="meta", precision="fp32")


def locate(base: str, revision: str | None = None, variant: str | None = None, *, weights: bool = True) -> Path:
    """The folder or file that a base's name means, fetched from the hub where it is a hub id.

    weights: whether they are needed; without them, a hub model's configs and vocabularies are fetched alone.
    Raises ModelError where there is no such thing, or where it is pickled.
    """
    if base in EMBEDDED:
        if not EMBEDDED[base].is_dir():
            raise ModelError(f'"{base}": its weights are not in this installation. Install maquette again.')
        return EMBEDDED[base]
    path = Path(base).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix == ".safetensors"):
        return path
    if path.is_file():
        if path.suffix in PICKLED:
            raise ModelError(f"{path}: is no safetensors file. {CONVERT}")
        raise ModelError(f"{path}: is no model; give a diffusers folder or a .safetensors checkpoint.")
    if path.exists():
        raise ModelError(f"{path}: is neither a file nor a folder.")
    if _HUB_ID.fullmatch(base) and not base.startswith(".") and path.suffix != ".safetensors":
        return hub.fetch_model(base, revision, variant) if weights else hub.fetch_configs(base, revision)
    near = get_close_matches(base, EMBEDDED, n=1)
    raise ModelError(
        f'base "{base}": there is no such file or folder, nor an embedded model of this name'
        + (f' (did you mean "{near[0]}"?). ' if near else ". ")
        + f"Give a diffusers folder, a .safetensors checkpoint, a hub id (OWNER/NAME), or {', '.join(EMBEDDED)}."
    )


def written(base: str) -> float:
    """When the newest file of a base on this machine was written, in seconds since the epoch.

    0 for a hub id: what is in the hub's cache is never written again; and for none.
    """
    if not base:
        return 0.0
    path = EMBEDDED.get(base, Path(base).expanduser())
    files = path.rglob("*") if path.is_dir() else [path]
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)


def part_folder(name: str, part: str) -> Path:
    """The folder of one part: given itself, as a whole model's folder, or as a hub id.

    Raises ModelError where there is none.
    """
    path = Path(name).expanduser()
    if not path.is_dir():
        if path.exists() or not _HUB_ID.fullmatch(name) or name.startswith("."):
            raise ModelError(f'{part} "{name}": is no folder, nor a hub id (OWNER/NAME).')
        path = hub.fetch_part(name, part)
    return path / part if (path / part).is_dir() else path


def half_folder(half: str, name: str, variant: str | None, *, weights: bool) -> Path:
    """The diffusers folder of the half of a model that stands beside the base; as ``locate`` finds it.

    half: a key of ``HALVES``. Raises ModelError where it is another kind of model.
    """
    path = locate(name, None, variant, weights=weights)
    kind = detect(path) if path.is_dir() else "single file"
    if kind != HALVES[half]:
        raise ModelError(
            f"model.{half} {name}: is a {kind}, and no {half} of Kandinsky 2.2 ({HALVES[half]}). Give one."
        )
    return path


def check_halves(kind: str, named: Sequence[str]) -> None:
    """Raise ModelError for another half than the one that a base of this pipeline class can stand beside."""
    others = [half for half in HALVES if kind in HALVES.values() and HALVES[half] != kind]
    if odd := [f"model.{half}" for half in named if half not in others]:
        raise ModelError(f"{', '.join(odd)}: means nothing to this base, a {kind}. Leave it out.")


def detect(folder: Path) -> str:
    """The pipeline class that a diffusers folder names. Raises ModelError where the folder is none."""
    index = folder / "model_index.json"
    if not index.is_file():
        adapter = any((folder / name).is_file() for name in ("adapter_config.json", "pytorch_lora_weights.safetensors"))
        what = "holds an adapter; a base is a whole model" if adapter else "has no model_index.json"
        raise ModelError(f"{folder}: {what}. Give a folder that diffusers saved, or a .safetensors checkpoint.")
    return str(read_json(index).get("_class_name"))


def loader(pipeline: str) -> Loader:
    """What loads models of a pipeline class. Raises ModelError where nothing does, with all that there are."""
    table = dict(FAMILIES)
    for point in entry_points(group="maquette.families"):
        table.setdefault(point.name, point.value)
    if pipeline not in table:
        raise ModelError(f'A model for "{pipeline}" cannot be used. Known: {", ".join(sorted(table))}.')
    module, _, function = table[pipeline].partition(":")
    return getattr(importlib.import_module(module), function)
