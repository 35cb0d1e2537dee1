"""Models from the Hugging Face hub, or from its cache on this machine."""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from maquette.errors import ModelError, first_line

UNUSED = ("safety_checker", "feature_extractor")
"""Parts of pipelines that are never loaded, and so not fetched either."""

FAILURES = (OSError, ValueError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled)


def fetch_model(name: str, revision: str | None, variant: str | None) -> Path:
    """The folder of a hub model in the cache, its safetensors files fetched where they are not there yet.

    Raises ModelError, with the cure, where it is not cached and cannot be fetched.
    """
    from diffusers import DiffusionPipeline  # here, since what only needs single files should not wait for it

    try:
        folder = DiffusionPipeline.download(
            name, revision=revision, variant=variant, use_safetensors=True, **dict.fromkeys(UNUSED)
        )
    except FAILURES as error:
        raise ModelError(_explained(name, error)) from error
    return Path(folder)


def fetch_configs(name: str, revision: str | None) -> Path:
    """The folder of a hub model with its configs and vocabularies alone; weights that are cached are there as well."""
    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=["*.json", "*.txt"])
    except FAILURES as error:
        raise ModelError(_explained(name, error)) from error
    return Path(folder)


def fetch_part(name: str, part: str) -> Path:
    """The folder of one part of a hub model, or of a repository that holds nothing else."""
    wanted = ("*.json", "*.txt", "*.safetensors")
    return fetch_files(name, [*wanted, *(f"{part}/{pattern}" for pattern in wanted)])


def fetch_files(name: str, patterns: Sequence[str]) -> Path:
    """The folder of a hub repository in the cache, with the files that fit any of these patterns."""
    try:
        folder = snapshot_download(name, allow_patterns=list(patterns))
    except FAILURES as error:
        raise ModelError(_explained(name, error)) from error
    return Path(folder)


def _explained(name: str, error: Exception) -> str:
    if isinstance(error, RevisionNotFoundError):
        return f'"{name}": the hub knows the model, but not this revision. Look up its branches and tags there.'
    if isinstance(error, RepositoryNotFoundError):
        return f'"{name}": the hub has no such model, or does not show it to you. Check the name, or `hf auth login`.'
    return (
        f'"{name}": is not complete on this machine, and could not be fetched from the hub ({first_line(error)}). '
        "Connect once to fetch it (with HF_HUB_OFFLINE unset), or give a folder or file of this machine."
    )
