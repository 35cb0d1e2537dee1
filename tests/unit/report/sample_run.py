"""Run folders as training leaves them, written through the same records, for every test of the report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin
from safetensors.numpy import save_file

from maquette.config.load import load_config
from maquette.config.schema import resolved
from maquette.config.toml import dump
from maquette.report.pictures import FOLDER, save_thumbnails
from maquette.runs.events import Event, Finished, Previewed, Scored, Started, Step, Warned, append_events
from maquette.runs.rundir import RunDir, create_run

HOME = "/home/somebody/private"
PROMPTS = ("a sks mug on the beach", "an <b>ink</b> sketch of a sks mug")
STEPS = 40


def picture(key: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """A picture of (height, width) that no other key has."""
    noise = np.random.default_rng(key).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((size[1], size[0]), Image.Resampling.BICUBIC)


def settings(*sets: str, prompts: Sequence[str] = PROMPTS) -> str:
    flags = {"SOURCE": Path(HOME) / "mug", "--prompt": "a photo of a [trigger]"}
    always = ['data.trigger="sks mug"', f"training.steps={STEPS}", f"preview.prompts={json.dumps(list(prompts))}"]
    return dump(resolved(load_config(flags=flags, sets=[*always, *sets]), pictures=3))


def events_until(run: RunDir, last: int, prompts: Sequence[str] = PROMPTS, seeds: Sequence[int] = (0,)) -> list[Event]:
    """What happens up to a step: a reading every 2 steps, previews and the validation loss every 20."""
    events: list[Event] = [Started(0, STEPS)]
    for step in range(last + 1):
        if step and step % 2 == 0:
            rates = {"denoiser": 1e-4 * (1 - step / STEPS), "text_encoder": 5e-5 * (1 - step / STEPS)}
            events.append(Step(step, 2 * step, 0.5 / step, 1.0 + step % 3, 0.25, rates, 800_000_000 + step))
        if step % 20 == 0:
            events.append(Scored(step, "validation loss", 0.2 - step / 1000))
            for number, prompt in enumerate(prompts):
                for seed in seeds:
                    file = run.preview(step, number, seed)
                    file.parent.mkdir(exist_ok=True)
                    text = PngImagePlugin.PngInfo()
                    text.add_itxt("prompt", f"{HOME} in the text of a picture")
                    picture(1000 * step + 10 * number + seed).save(file, pnginfo=text)
                    events.append(Previewed(step, prompt, seed, run.relative(file)))
    return events


def export(path: Path, metadata: Mapping[str, str]) -> None:
    """An adapter file, as far as a reader of headers can tell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"lora_unet_x.lora_down.weight": np.zeros((8, 8), dtype=np.float32)}, path, dict(metadata))


def write_run(
    root: Path, *sets: str, last: int = STEPS, prompts: Sequence[str] = PROMPTS, seeds: Sequence[int] = (0,)
) -> RunDir:
    """A run up to a step; with the last one it is finished and has exported both dialects."""
    run = create_run(root)
    run.config.write_text(settings(*sets, prompts=prompts), encoding="utf-8")
    run.versions.write_text(json.dumps({"libraries": {"torch": "2.13.0"}, "commit": "abc123", "gpu": None}))
    save_thumbnails(run.root / FOLDER, [(picture(i), f"a photo of a sks mug, view {i}") for i in range(3)])
    events = events_until(run, last, prompts, seeds)
    events.append(Warned(0, f"{HOME}/mug: 2 captions are ignored."))
    if last == STEPS:
        events.append(Finished(STEPS, 75.0))
        export(run.export / f"{root.name}.safetensors", {"maquette.dialect": "kohya", "ss_network_args": "{}"})
        export(run.export / "pytorch_lora_weights.safetensors", {"maquette.dialect": "diffusers"})
    append_events(run.events, events)
    return run
