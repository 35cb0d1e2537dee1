"""Who may import whom, read from the sources; docs/architecture.md says why."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import maquette

ROOT = Path(maquette.__file__).parent

# Lower layers first. A package may import from its own layer and from those before it.
LAYERS = (
    {"errors", "types"},
    {"config", "diffusion", "runs"},
    {"families", "report"},
    {"adapters", "data"},
    {"evaluation", "generation"},
    {"training"},
    {"embedded", "planning"},
    {"cli"},
)
LAYER_OF = {package: i for i, layer in enumerate(LAYERS) for package in layer}
HEAVY = {"torch", "diffusers", "transformers", "peft", "accelerate"}


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(file: Path, *, at_top: bool = False) -> Iterator[str]:
    """The modules that a file imports; at_top: only those that are imported when the file is."""
    tree = tree_of(file)
    nodes = top_level(tree.body) if at_top else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def _condition(node: ast.If | ast.Try) -> str:
    return ast.unparse(node.test) if isinstance(node, ast.If) else ""


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try) and "TYPE_CHECKING" not in _condition(node):
            yield from top_level(node.body)


def sources(*packages: str) -> list[Path]:
    roots = [ROOT / package for package in packages] or [ROOT]
    return sorted(file for root in roots for file in root.rglob("*.py"))


def package_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_package_has_a_layer():
    packages = {package_of(file) for file in sources()} - {"__init__", "__main__"}
    assert packages == set(LAYER_OF), "give the new package a layer here and in docs/architecture.md"


def test_the_page_has_the_same_layers():
    page = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", page, re.MULTILINE)
    told = {int(number): set(re.findall(r"`(\w+)`", packages)) for number, packages in rows}
    assert told == dict(enumerate(LAYERS, 1))


def test_imports_go_downwards():
    upwards = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sources()
        if (package := package_of(file)) in LAYER_OF
        for name in imports(file)
        if name.startswith("maquette.") and LAYER_OF[name.split(".")[1]] > LAYER_OF[package]
    ]
    assert not upwards


def test_diffusion_is_torch_and_types_only():
    allowed = {"torch", "jaxtyping", "math", "collections", "dataclasses", "typing", "maquette"}
    found = {name.split(".")[0] for file in sources("diffusion") for name in imports(file)}
    assert found <= allowed
    ours = {name for file in sources("diffusion") for name in imports(file) if name.startswith("maquette.")}
    assert all(name.startswith(("maquette.diffusion", "maquette.types", "maquette.errors")) for name in ours)


def test_the_light_packages_import_nothing_heavy_when_imported():
    heavy = {*HEAVY, "numpy"}
    found = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sources("cli", "config", "report", "runs")
        for name in imports(file, at_top=True)
        if name.split(".")[0] in heavy
    ]
    assert not found


def test_diffusers_stays_where_models_are():
    allowed = {"adapters", "embedded", "families", "generation"}
    found = {package_of(file) for file in sources() for name in imports(file) if name.split(".")[0] == "diffusers"}
    assert found <= allowed


def test_the_loop_knows_no_family_and_no_method():
    words = ("unet", "lora", "sdxl", "vae", "diffusers", "prompt")
    text = (ROOT / "training" / "loop.py").read_text(encoding="utf-8").lower()
    assert [word for word in words if word in text] == []
