"""The command line, frozen: every command, argument and flag. Changing one is a decision, made here as well."""

from collections.abc import Iterator

import typer.main

from maquette.cli.app import app

FROZEN = {
    "": ["--version"],
    "check": [
        "FOLDER",
        "--prompt",
        "--trigger",
        "--base",
        "--resolution",
        "--placeholder",
        "--preset",
        "--set",
        "--pack",
        "--json",
    ],
    "compare": [
        "TARGETS",
        "--suite",
        "--references",
        "--subject",
        "--class",
        "--base",
        "--networks",
        "--judge",
        "--set",
        "--device",
        "--out",
    ],
    "config": ["SOURCE", "--prompt", "--base", "--out", "--preset", "--device", "--set"],
    "convert": ["FILE", "--to", "--out", "--base", "--precision"],
    "evaluate": [
        "TARGET",
        "--suite",
        "--pictures",
        "--references",
        "--subject",
        "--class",
        "--checkpoint",
        "--strengths",
        "--base",
        "--networks",
        "--judge",
        "--set",
        "--device",
        "--out",
    ],
    "fuse": ["--adapter", "--base", "--out", "--scale", "--precision", "--tokenizer", "--prior"],
    "generate": [
        "PROMPTS",
        "--prompts",
        "-n --num",
        "--seed",
        "--steps",
        "--guidance",
        "--negative",
        "--scheduler",
        "--height",
        "--width",
        "--base",
        "--adapter",
        "--scale",
        "--clip-skip",
        "--tokenizer",
        "--prior",
        "--prior-guidance",
        "--prior-steps",
        "--device",
        "--precision",
        "--quantize",
        "--out",
    ],
    "init": ["FILE", "--preset"],
    "migrate": ["COMMAND", "--out"],
    "plan": ["SOURCE", "--prompt", "--base", "--out", "--preset", "--device", "--set", "--json"],
    "presets": ["NAME"],
    "publish": ["FOLDER", "NAME", "--public"],
    "report": ["RUN"],
    "train": ["SOURCE", "--prompt", "--base", "--out", "--preset", "--device", "--set", "--resume", "--push-to-hub"],
    "world face": ["--out", "--count -n", "--index", "--seed", "--token"],
    "world pretrain": ["--work", "--model", "--part", "--publish", "--start-from"],
    "world scenes": ["--out", "--count -n", "--seed"],
    "world style": ["--out", "--count -n", "--index", "--seed", "--token"],
    "world subject": ["--out", "--count -n", "--index", "--seed", "--token"],
}


def commands(command: object, name: str = "") -> Iterator[tuple[str, list[str]]]:
    parameters = [
        " ".join(parameter.opts) if parameter.param_type_name == "option" else parameter.name.upper()
        for parameter in command.params
        if parameter.name != "help"
    ]
    below = getattr(command, "commands", {})
    if parameters or not below:
        yield name, parameters
    for each, subcommand in below.items():
        yield from commands(subcommand, f"{name} {each}".strip())


def test_the_commands_and_their_flags_are_these():
    assert dict(sorted(commands(typer.main.get_command(app)))) == FROZEN


def test_every_command_and_flag_says_what_it_is_for():
    def unexplained(command: object, name: str) -> list[str]:
        missing = [] if command.help or not name else [name]
        missing += [f"{name} {p.name}" for p in command.params if not getattr(p, "help", None) and p.name != "help"]
        below = getattr(command, "commands", {})
        return missing + [each for key, value in below.items() for each in unexplained(value, f"{name} {key}")]

    assert unexplained(typer.main.get_command(app), "") == []
