"""Rules about the text of the sources that no other tool checks."""

import ast
from pathlib import Path

import pytest
from tests.architecture.test_layers import ROOT, imports, sources, tree_of

FILES = sources()


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_module_says_what_it_is(file: Path):
    doc = ast.get_docstring(tree_of(file))
    assert doc, "a module opens with one line of purpose"
    assert doc.splitlines()[0].endswith((".", ":")), "the first line is a sentence"


def test_no_file_is_a_drawer():
    drawers = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py"}
    assert [name_of(file) for file in FILES if file.name in drawers] == []


UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def is_unpickling(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return ast.unparse(node) in {"torch.load", "torch.save"}
    if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
        return ast.unparse(node.value) != "False"
    return False


def test_nothing_is_unpickled():
    imported = [name_of(file) for file in FILES for name in imports(file) if name.split(".")[0] in UNPICKLERS]
    used = [name_of(file) for file in FILES for node in ast.walk(tree_of(file)) if is_unpickling(node)]
    assert imported + used == []


def test_importing_a_module_does_nothing():
    """A bare call at module level would act on import; only the command line builds its table that way."""
    acting = [
        f"{name_of(file)}:{node.lineno}"
        for file in FILES
        if file.parent.name != "cli"
        for node in tree_of(file).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    assert acting == []


def test_random_keys_do_not_depend_on_the_process():
    """Python salts hash() anew in each process, so a key made from it would differ on resume."""
    found = [
        f"{name_of(file)}:{node.lineno}"
        for file in FILES
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hash"
    ]
    assert found == []
