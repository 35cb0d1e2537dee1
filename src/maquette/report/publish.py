"""A finished run -> a model repository on the Hugging Face hub: its result, its card and the card's pictures."""

import io
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from PIL import Image

from maquette.config.adapter import FullConfig
from maquette.config.toml import dump
from maquette.errors import CheckpointError, ConfigError, MaquetteError, first_line
from maquette.report.card import GALLERY, last_previews, render_card
from maquette.report.exports import Export
from maquette.report.facts import Facts
from maquette.report.pictures import FOLDER, small_copy
from maquette.report.privacy import without_paths
from maquette.report.read import read_facts
from maquette.runs.rundir import RAW, RunDir

LOGIN = "Log in with `hf auth login` (a token that may write), or set HF_TOKEN."


def check_login(name: str) -> str:
    """The full name (OWNER/NAME) of a repository that the person who is logged in may write to.

    name: of the repository, alone for one of their own. Raises ConfigError where nobody is logged in, where the token
    may not write, where the owner is somebody else, and where the hub cannot be reached.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ConfigError(f'"{name}" is no name of a repository: {error} Give NAME or OWNER/NAME.') from None
    if get_token() is None:
        raise ConfigError(f"Publishing needs a login, and there is none on this machine. {LOGIN}")
    with reaching():
        person = HfApi().whoami()
    if person.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise ConfigError(f"The token of {person['name']} may only read. {LOGIN}")
    owners = [person["name"], *(group["name"] for group in person.get("orgs", []))]
    owner, _, rest = name.rpartition("/")
    if owner and owner not in owners:
        raise ConfigError(f'"{name}": {person["name"]} may not write there. Possible owners: {", ".join(owners)}.')
    return f"{owner or person['name']}/{rest}"


def publish(run: RunDir, name: str, *, public: bool = False) -> str:
    """Upload a finished run and return the repository's address; what is there already is replaced in one commit.

    name: as `check_login` gives it. public: for a repository that is made by this; an existing one stays as visible as
    it is. Raises CheckpointError for a run that is not finished or not whole, ConfigError where the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    facts = read_facts(run)
    if not facts.is_finished:
        raise CheckpointError(
            f"{run.root}: the run is not finished (step {facts.steps_done} of {facts.steps}). Finish it with "
            f"maquette train --resume --out {run.root}, then publish it."
        )
    files = files_of(run, facts, name)
    additions = [CommitOperationAdd(path, content) for path, content in files.items()]
    with reaching():
        api = HfApi()
        address = api.create_repo(name, private=not public, exist_ok=True)
        api.create_commit(name, additions, commit_message=f"{facts.name}, trained with maquette")
    return str(address)


def files_of(run: RunDir, facts: Facts, name: str) -> Mapping[str, bytes | Path]:
    """What is uploaded, by its path in the repository.

    The result lies at the top, where loaders look for it. Neither the cache nor checkpoints nor the log go there, and
    training pictures only as the small copies that output.thumbnails allows. Raises CheckpointError where the result is
    not there.
    """
    whole = isinstance(facts.config.adapter, FullConfig)
    exports = [export for export in facts.exports if not (whole and f"/{RAW}/" in f"/{export.name}")]
    if not exports:
        raise CheckpointError(f"{run.export}: holds no result to publish. Put it back, or train again.")
    shown = facts.pictures if facts.config.output.thumbnails else []
    thumbnails = [picture.file for picture in shown if picture.file is not None][:GALLERY]
    files: dict[str, bytes | Path] = {}
    for export in exports:
        files |= dict(_files_of(export, run))
    files |= {run.relative(preview.file): bare(preview.file) for preview in last_previews(facts)}
    files |= {f"{FOLDER}/{file.name}": file for file in thumbnails}
    files |= {path.name: path for path in _licenses(facts)}
    files[run.config.name] = without_paths(dump(facts.config)).encode()
    there = replace(
        facts,
        name=name,
        pictures=shown,
        exports=[replace(export, name=_name_there(export)) for export in exports],
    )
    files[run.card.name] = render_card(there, run).replace(f"{name}/model", name).encode()
    return files


def bare(picture: Path) -> bytes:
    """A picture as a PNG of its pixels alone, without texts and profiles."""
    data = io.BytesIO()
    with Image.open(picture) as image:
        small_copy(image, max(image.size)).save(data, "png", optimize=True)
    return data.getvalue()


@contextmanager
def reaching() -> Generator[None]:
    """Inside, what goes wrong on the way to the hub becomes one sentence with its cure."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    again = "Train without --push-to-hub, and publish the run later with `maquette publish RUN NAME`."
    try:
        yield
    except OfflineModeIsEnabled:
        raise ConfigError(f"Publishing needs the hub, and HF_HUB_OFFLINE is set. Unset it. {again}") from None
    except LocalTokenNotFoundError:
        raise ConfigError(f"Publishing needs a login, and there is none on this machine. {LOGIN}") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "no answer")
        cure = LOGIN if status in (401, 403) else f"Try again later. {again}"
        raise ConfigError(f"The hub refuses ({status}: {first_line(error)}). {cure}") from error
    except MaquetteError:
        raise
    except Exception as error:  # of whichever library carries the request
        if not _is_network(error):
            raise
        raise ConfigError(
            f"The hub cannot be reached ({first_line(error)}). Connect, and try again; or: {again}"
        ) from error


def _is_network(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "httpcore", "requests"))


def _files_of(export: Export, run: RunDir) -> list[tuple[str, Path]]:
    path = run.root / export.name
    if export.kind != "folder":
        return [(_name_there(export), path)]
    return [(file.relative_to(path).as_posix(), file) for file in sorted(path.rglob("*")) if file.is_file()]


def _name_there(export: Export) -> str:
    return export.name.partition("/")[2] or export.name


def _licenses(facts: Facts) -> list[Path]:
    """The licence's text, where the base is a folder that has it."""
    folder = Path(facts.config.model.base).expanduser()
    return [path for path in sorted(folder.glob("LICENSE*")) if path.is_file()] if folder.is_dir() else []
