"""B-LoRA: adapters in the two blocks of SDXL that hold content and style, and nowhere else."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from tests.unit.adapters import small
from tests.unit.adapters.test_targets import SDXL

from maquette.adapters.about import About
from maquette.adapters.attach import attach, layer_ranks
from maquette.adapters.export import export_both
from maquette.adapters.keys import layout_of
from maquette.config.load import load_config
from maquette.config.schema import RunConfig
from maquette.errors import ConfigError

CONTENT, STYLE = "up_blocks.0.attentions.0", "up_blocks.0.attentions.1"


def test_the_published_unet_has_ten_transformer_blocks_in_each():
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SDXL)
    ranks = layer_ranks(load_config(preset="sdxl-style-lora-blocks").adapter, unet)
    assert set(ranks.values()) == {64}
    assert [sum(path.startswith(f"{block}.") for path in ranks) for block in (CONTENT, STYLE)] == [80, 80]
    assert len(ranks) == 160


@pytest.mark.parametrize(("blocks", "names"), [((CONTENT, STYLE), {"0_1", "1_1"}), ((STYLE,), {"1_1"})])
def test_only_these_blocks_learn_and_are_in_the_files(blocks, names, tmp_path):
    models = small.models("sdxl")
    config = RunConfig.model_validate({"adapter": {"kind": "lora", "rank": 3, "blocks": blocks}})
    trainable = attach(config, models, steps=1, weight_decay=0.0, rng=torch.Generator().manual_seed(0))
    small.forward(models).square().mean().backward()
    learning = {n for n, p in models.modules["denoiser"].named_parameters() if p.grad is not None}
    assert learning
    assert all(name.startswith(tuple(f"{block}." for block in blocks)) for name in learning)
    layout = layout_of(small.models("sdxl").modules)
    paths = export_both(tmp_path, small.updates(trainable), layout, About(title="style"))
    kohya = {key.removeprefix("lora_unet_output_blocks_")[:3] for key in load_file(paths["kohya"])}
    assert kohya == names
    diffusers = {key.removeprefix("unet.")[: len(STYLE)] for key in load_file(paths["diffusers"])}
    assert diffusers == set(blocks)


def test_a_block_in_the_words_of_another_trainer_is_refused_with_ours():
    """diffusers' script wants "unet." in front."""
    adapter = RunConfig.model_validate({"adapter": {"kind": "lora", "blocks": [f"unet.{STYLE}"]}}).adapter
    with pytest.raises(ConfigError, match=r'adapter\.blocks.*did you mean "up_blocks\.0\.attentions\.[01]"'):
        layer_ranks(adapter, small.unet("sdxl"))
