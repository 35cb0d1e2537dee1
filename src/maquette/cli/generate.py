"""`maquette generate`: pictures from prompts."""

from pathlib import Path
from typing import Annotated

import typer

from maquette.cli.worn import Adapters, Scales, with_strengths
from maquette.errors import ConfigError, DataError

Prompts = Annotated[list[str] | None, typer.Argument(metavar="PROMPT...", help="What to show; one or more.")]
File = Annotated[Path | None, typer.Option("--prompts", help="A text file with one prompt in each line.")]
Num = Annotated[int, typer.Option("-n", "--num", help="Pictures for each prompt, with consecutive seeds.")]
Guidance = Annotated[
    float | None,
    typer.Option(
        "--guidance", help="How strongly the prompt is followed; 1 is off. Default: 5, Kandinsky 4, EDM bases 3."
    ),
]
ClipSkip = Annotated[
    int | None,
    typer.Option("--clip-skip", help="Last layers of the text encoder to leave out. Default: as the adapter's run."),
]


def generate(  # noqa: PLR0913 - one parameter for each flag
    prompts: Prompts = None,
    file: File = None,
    num: Num = 1,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the first picture of each prompt.")] = 0,
    steps: Annotated[int, typer.Option("--steps", help="Sampling steps.")] = 25,
    guidance: Guidance = None,
    negative: Annotated[str, typer.Option("--negative", help="What the pictures should not show.")] = "",
    scheduler: Annotated[str | None, typer.Option("--scheduler", help="The sampler: dpm++, ddim, euler, ...")] = None,
    height: Annotated[int | None, typer.Option("--height", help="In pixels. Default: as the base was trained.")] = None,
    width: Annotated[int | None, typer.Option("--width", help="In pixels. Default: as the base was trained.")] = None,
    base: Annotated[str, typer.Option("--base", help="maquette-64, a folder, a .safetensors file or a hub id.")] = "",
    adapter: Adapters = None,
    scale: Scales = None,
    clip_skip: ClipSkip = None,
    tokenizer: Annotated[str | None, typer.Option("--tokenizer", help="Vocabulary for a single-file base.")] = None,
    prior: Annotated[
        str | None, typer.Option("--prior", help="Prior of a Kandinsky decoder: a folder or hub id.")
    ] = None,
    prior_guidance: Annotated[
        float | None, typer.Option("--prior-guidance", help="How strongly the prior follows the prompt. Default 4.")
    ] = None,
    prior_steps: Annotated[
        int | None, typer.Option("--prior-steps", help="Sampling steps of the prior. Default 25.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[str | None, typer.Option("--precision", help="auto, fp32, bf16 or fp16.")] = None,
    quantize: Annotated[str | None, typer.Option("--quantize", help="none, int8 or nf4. Default: as the run.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the pictures; what exists is skipped.")] = Path(
        "pictures"
    ),
) -> None:
    """Make pictures from prompts, with or without adapters, and a grid of all of them.

    The same command gives the same bytes. Each PNG says how it was made.
    """
    wanted = [*(prompts or []), *_lines(file)]
    if not wanted:
        raise ConfigError('There is no prompt: maquette generate "a photo of a red mug on the beach".')
    _check_least(
        ("--num", num, 1, "at least 1 picture for each prompt"),
        ("--seed", seed, 0, "seeds are 0 or more"),
        ("--steps", steps, 1, "at least 1 sampling step"),
        ("--guidance", guidance, 1, "must be 1 (off) or more; 5 to 8 is usual"),
        ("--prior-steps", prior_steps, 2, "at least 2 sampling steps"),
        ("--prior-guidance", prior_guidance, 1, "must be 1 (off) or more; 4 is usual"),
        ("--clip-skip", clip_skip, 0, "must be 0 (none) or more"),
    )
    if (height is None) != (width is None):
        raise ConfigError("--height and --width go together; give both or neither.")
    if precision not in (None, "auto", "fp32", "bf16", "fp16"):
        raise ConfigError(f"--precision {precision}: must be auto, fp32, bf16 or fp16.")
    if quantize not in (None, "none", "int8", "nf4"):
        raise ConfigError(f"--quantize {quantize}: must be none, int8 or nf4.")
    adapters = with_strengths(adapter or [], scale or [])

    from maquette.generation.batch import Maker, make_pictures  # here, since it imports torch
    from maquette.generation.sample import Request

    size = None if height is None or width is None else (height, width)
    requests = [
        Request(
            prompt=prompt,
            seed=seed + i,
            negative=negative,
            steps=steps,
            guidance=guidance,
            scheduler=scheduler,
            size=size,
            prior_steps=prior_steps,
            prior_guidance=prior_guidance,
        )
        for prompt in wanted
        for i in range(num)
    ]
    maker = Maker(base or None, adapters, clip_skip, tokenizer, device, precision, quantize, prior)
    grid = make_pictures(maker, requests, out)
    typer.echo(f"{len(requests)} pictures and their grid: {grid}")


def _check_least(*flags: tuple[str, float | None, int, str]) -> None:
    """Raise ConfigError for a flag that is given below its least: (flag, value, least, what is allowed)."""
    for flag, value, least, allowed in flags:
        if value is not None and value < least:
            raise ConfigError(f"{flag} {value:g}: {allowed}.")


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--prompts {file}: cannot be read as text ({error}).") from error
    if not any(lines):
        raise DataError(f"--prompts {file}: holds no prompt; write one in each line.")
    return [line for line in lines if line]
