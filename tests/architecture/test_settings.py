"""No setting without an effect: every key of the schema is read by the code that it is for."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.test_layers import ROOT, package_of, sources, tree_of

from maquette.config.keys import keys, tables
from maquette.config.schema import RunConfig
from maquette.config.suite import SuiteConfig

DERIVED = {name for name, value in vars(RunConfig).items() if isinstance(value, property)}
"""What the schema works out from keys; it counts as read where this is."""


def names_read(file: Path) -> Iterator[str]:
    """Attributes that a file reads, plainly or in patterns, and classes that it tells apart."""
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
        elif isinstance(node, ast.MatchClass):
            yield from node.kwd_attrs
            yield ast.unparse(node.cls)
        elif isinstance(node, ast.Name):
            yield node.id


def read_outside_the_configuration() -> set[str]:
    files = [file for file in sources() if package_of(file) not in ("config", "cli", "report")]
    read = {name for file in files for name in names_read(file)}
    assert read >= DERIVED
    schema = ROOT / "config" / "schema.py"
    for node in ast.walk(tree_of(schema)):
        if isinstance(node, ast.FunctionDef) and node.name in DERIVED:
            read |= {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
    return read


def test_every_setting_is_read():
    read = read_outside_the_configuration()
    assert {key.path for key in keys() if key.name != "kind" and key.name not in read} == set()


def test_every_key_of_a_suite_is_read():
    read = read_outside_the_configuration()
    assert {key.path for key in keys(SuiteConfig) if key.name not in read} == set()


def test_every_kind_is_told_apart():
    read = read_outside_the_configuration()
    kinds = {section.__name__ for table in tables().values() if table.is_union for section in table.classes}
    assert len(kinds) > 15
    assert kinds - read == set()
