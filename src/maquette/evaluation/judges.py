"""The files of a judge, and the two judges that come with this package."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from maquette.errors import CheckpointError, ConfigError, ModelError
from maquette.evaluation.judge import Judge
from maquette.evaluation.towers import Networks, TowerConfig, words_of
from maquette.families.weights import some
from maquette.runs.files import replacing, write_text

JudgeName = Literal["judge", "verifier"]
NAMES: Final[tuple[JudgeName, ...]] = ("judge", "verifier")
WEIGHTS: Final = Path(__file__).parent / "weights"
FORMAT: Final = 1


def load_judge(name: JudgeName = "judge", device: str | torch.device = "cpu") -> Judge:
    """One of the two judges of this package.

    They were trained apart (seed, sizes, draw of the world), so that what picks a checkpoint need not be what verifies
    it. Both are stand-ins for the embedded world: never print their numbers under CLIP's or DINO's name.
    Raises ConfigError for another name.
    """
    if name not in NAMES:
        raise ConfigError(f"judge = {name!r}: unknown; use one of: {', '.join(NAMES)}.")
    return read_judge(WEIGHTS / name, device)


def unknown_words(name: str, texts: Sequence[str]) -> list[str]:
    """The words of texts that a network leaves out, each once, in order: the judges know those of their world alone."""
    if name not in NAMES:
        return []
    known = _read_config(WEIGHTS / name / "judge.json").words
    return [word for word in dict.fromkeys(word for text in texts for word in words_of(text)) if word not in known]


def told_unknown(name: str, texts: Sequence[str]) -> tuple[str, ...]:
    """What to say of prompt fidelity where a network leaves words out."""
    unknown = unknown_words(name, texts)
    if not unknown:
        return ()
    return (f"the {name} does not know these words, and reads prompts without them: {some(unknown, 8)}",)


def read_judge(folder: Path, device: str | torch.device = "cpu") -> Judge:
    """The judge of a folder that ``write_judge`` wrote.

    Raises ModelError where a file is missing, CheckpointError where one is damaged or does not fit the other.
    """
    card, weights = folder / "judge.json", folder / "judge.safetensors"
    missing = [file.name for file in (card, weights) if not file.is_file()]
    if missing:
        raise ModelError(f"{folder}: no judge here, {' and '.join(missing)} missing. Name a folder with both files.")
    config = _read_config(card)
    networks = Networks(config)
    try:
        state = load_file(weights)
    except SafetensorError as error:
        raise CheckpointError(f"{weights}: damaged ({error}). Restore the file from where it came.") from error
    _require_fit(weights, networks.state_dict(), state)
    networks.load_state_dict(state)
    networks.requires_grad_(requires_grad=False).eval()
    return Judge(folder.name, config, networks.to(device))


def write_judge(folder: Path, networks: Networks, config: TowerConfig, card: Mapping[str, object]) -> None:
    """Write the two files of a judge, weights in fp16; ``card`` says how it was trained."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().half().contiguous() for name, value in networks.state_dict().items()}
    with replacing(folder / "judge.safetensors") as weights:
        save_file(state, weights)
    content = {"format": FORMAT, "config": asdict(config), "training": card}
    write_text(folder / "judge.json", json.dumps(content, indent=1) + "\n")


def _read_config(file: Path) -> TowerConfig:
    try:
        card = json.loads(file.read_text("utf-8"))
        found, config = card["format"], card["config"]
        one, two, three, four = config["channels"]
        read = TowerConfig(
            channels=(one, two, three, four),
            features=config["features"],
            text_width=config["text_width"],
            attributes={name: tuple(values) for name, values in config["attributes"].items()},
            words=tuple(config["words"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file}: not the card of a judge ({error}). Restore it from where it came.") from error
    if found != FORMAT:
        raise CheckpointError(f"{file}: format {found}, but this version reads {FORMAT}. Use a matching version.")
    return read


def _require_fit(file: Path, expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> None:
    problems = [f"{name} is missing" for name in expected.keys() - state.keys()]
    problems += [f"{name} is not part of a judge" for name in state.keys() - expected.keys()]
    problems += [
        f"{name} has shape {list(state[name].shape)}, not {list(expected[name].shape)}"
        for name in expected.keys() & state.keys()
        if state[name].shape != expected[name].shape
    ]
    if problems:
        raise CheckpointError(f"{file}: does not fit its card: {'; '.join(sorted(problems))}. Restore both files.")
