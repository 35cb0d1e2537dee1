import tomllib

import pytest

from maquette.config.keys import tables
from maquette.config.load import load_config
from maquette.config.presets import preset_names
from maquette.config.schema import RunConfig
from maquette.config.toml import dump, line_of

TEXT = '''\
top = 1
[a]
x = 1
"quoted key" = 2
b.c = 3
text = """
[not.a.table]
y = 4
"""
y = 5
[ a . d ]
z = { inner = 1 }
[[list]]
k = 1
[[list]]
k = 2
[list.below]
m = 3
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 1),
        (("a",), 2),
        (("a", "x"), 3),
        (("a", "quoted key"), 4),
        (("a", "b", "c"), 5),
        (("a", "text"), 6),
        (("a", "y"), 10),  # not the y inside the text of several lines
        (("a", "d"), 11),
        (("a", "d", "z", "inner"), 12),  # the nearest that has a line
        (("list", 0, "k"), 14),
        (("list", 1, "k"), 16),
        (("list", 1, "missing"), 15),
        (("a", "missing"), 2),
        (("missing", "x"), None),
    ],
)
def test_keys_are_found_where_they_stand(path: tuple[str | int, ...], line: int | None):
    assert line_of(TEXT, path) == line


def every_kind() -> list[list[str]]:
    kinds = [f"{path}.kind={kind}" for path, table in tables().items() for kind in table.kinds()]
    needed = {"adapter.kind=none": ["tokens={placeholders={TOK=2, my-hat=1}}"]}
    return [[kind, *needed.get(kind, [])] for kind in kinds]


FULL = [
    "concepts=[{folder='a \"b\" c', prompt='x'}, {folder='d', repeats=3, class_prompt='y'}]",
    "class_images={weight=0.5}",
    "adapter.rank_pattern={'mid_block.*' = 4}",
    "adapter.targets=['to_q', 'to_v']",
    "adapter.lora_alpha=3.0",
    "training.ema={half_life_images=7.0}",
    "validation={hold_out=0.2}",
    "preview.prompts=['a \\\\ b', 'line\\nbreak']",
    "preview.negative=",
    "optimizer.lr=1e-7",
]


@pytest.mark.parametrize("comments", [True, False])
@pytest.mark.parametrize("sets", [[], *every_kind(), FULL], ids=lambda sets: sets[0] if sets else "defaults")
def test_a_dump_reads_back_as_the_same(sets: list[str], comments: bool):
    config = load_config(sets=sets)
    assert RunConfig.model_validate(tomllib.loads(dump(config, comments=comments))) == config


@pytest.mark.parametrize("preset", preset_names())
def test_a_dumped_preset_reads_back_as_the_same(preset: str):
    config = load_config(preset=preset)
    assert RunConfig.model_validate(tomllib.loads(dump(config))) == config


def test_a_commented_dump_names_every_key():
    text = dump(RunConfig())
    for path, table in tables().items():
        if path and not table.is_optional and not table.is_array:
            assert f"[{path}]" in text
    for section in (RunConfig().model, RunConfig().data, RunConfig().preview):
        for name in type(section).model_fields:
            assert f"\n{name} = " in text or f"\n# {name} =" in text or f"[data.{name}]" in text


def test_what_follows_another_key_stays_a_comment_for_people_and_a_value_for_the_record():
    """Otherwise somebody who edits rank in the file would keep the old lora_alpha, and train at another scale."""
    config = load_config(sets=["adapter.rank=8"])
    assert "\n# lora_alpha = 8.0\n" in dump(config)
    assert "\nlora_alpha = 8.0\n" in dump(config, comments=False)
    assert "\nlora_alpha = 4.0\n" in dump(load_config(sets=["adapter.rank=8", "adapter.lora_alpha=4.0"]))


def test_comments_stay_within_the_line():
    assert max(map(len, dump(RunConfig()).splitlines())) <= 120
