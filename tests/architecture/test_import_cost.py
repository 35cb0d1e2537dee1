"""What a person waits for before the first line of help: nothing heavy is imported for it."""

import json
import subprocess
import sys

HEAVY = {"torch", "diffusers", "transformers", "peft", "accelerate", "numpy", "scipy", "PIL", "huggingface_hub"}


def loaded_after(code: str) -> set[str]:
    """The modules that a fresh Python has loaded after running some code."""
    script = f"import sys, json, io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()):\n    {code}\n"
    script += "print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy_and_not_even_the_schema():
    loaded = loaded_after("import maquette; from maquette.cli.app import main; main(['train', '--help'])")
    assert loaded & {*HEAVY, "maquette.config.schema", "tomlkit"} == set()
    assert "maquette.cli.train" in loaded


def test_a_configuration_is_checked_without_anything_heavy():
    loaded = loaded_after("from maquette.cli.app import main; main(['config', '--preset', 'sdxl-face-lora'])")
    assert loaded & HEAVY == set()
    assert "maquette.config.schema" in loaded
