import pytest
import torch
from diffusers import PriorTransformer, UNet2DConditionModel
from tests.unit.adapters import small
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from maquette.adapters.targets import expected_counts, leaves, matches, select
from maquette.config.load import load_config
from maquette.errors import ConfigError, ModelError

SD1 = {"cross_attention_dim": 768}
SD2 = {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}
SDXL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
# Layers, inputs + outputs over all of them, and rows: the published models' own numbers.
PUBLISHED = [(SD1, 128, 199_296, 99_840), (SD2, 128, 207_488, 99_840), (SDXL, 560, 1_451_520, 665_600)]


@pytest.mark.parametrize(("config", "layers", "per_rank", "rows"), PUBLISHED, ids=["sd1", "sd2", "sdxl"])
def test_attention_of_the_published_unets(config, layers, per_rank, rows):
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    weights = [leaves(unet)[path].weight for path in select(unet, "attention")]
    assert len(weights) == layers
    assert sum(sum(weight.shape) for weight in weights) == per_rank
    assert sum(weight.shape[0] for weight in weights) == rows


@pytest.mark.parametrize(("layers", "width", "per_rank"), [(12, 768, 73_728), (23, 1024, 188_416), (32, 1280, 327_680)])
def test_attention_of_the_published_text_encoders(layers, width, per_rank):
    config = CLIPTextConfig(num_hidden_layers=layers, hidden_size=width, num_attention_heads=8, intermediate_size=64)
    with torch.device("meta"):
        encoder = CLIPTextModel(config)
    weights = [leaves(encoder)[path].weight for path in select(encoder, "attention")]
    assert len(weights) == 4 * layers
    assert sum(sum(weight.shape) for weight in weights) == per_rank


def test_the_text_encoder_of_s0s_pack_and_its_denoiser_have_the_numbers_of_its_file():
    config = CLIPTextConfig(num_hidden_layers=23, hidden_size=1024, num_attention_heads=8, intermediate_size=64)
    with torch.device("meta"):
        encoder, unet = CLIPTextModel(config), UNet2DConditionModel(**SD2)
    pack = load_config(preset="sd2-style-lora-pack")
    rank = 28 * pack.pack.rank_per_concept
    asked = pack.text_encoder.targets
    paths = {"text encoder": (encoder, select(encoder, asked)), "denoiser": (unet, select(unet, pack.adapter.targets))}
    sizes = {name: rank * sum(sum(leaves(m)[path].weight.shape) for path in p) for name, (m, p) in paths.items()}
    assert {name: len(p) for name, (_, p) in paths.items()} == {"text encoder": 69, "denoiser": 128}
    assert sizes == {"text encoder": 126_615_552, "denoiser": 185_909_248}  # 1.164 GiB in fp32: S0 says 1.18 G


def test_a_pattern_for_text_encoders_is_named_as_such():
    with pytest.raises(ConfigError, match=r"text_encoder\.targets: no layer of the model matches \"to_q\""):
        select(nn.ModuleDict({"q_proj": nn.Linear(2, 2)}), ["to_q"], key="text_encoder.targets")


def test_attention_of_the_published_prior():
    with torch.device("meta"):
        prior = PriorTransformer(embedding_dim=1280)
    weights = [leaves(prior)[path].weight for path in select(prior, "attention")]
    assert len(weights) == 80
    assert sum(sum(weight.shape) for weight in weights) == 327_680
    assert len(select(prior, "attention+feed_forward")) == 120


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_every_group_has_the_number_of_layers_that_the_configuration_implies(kind):
    unet = small.unet(kind)
    paths = leaves(unet)
    expected = expected_counts(dict(unet.config))
    assert expected is not None
    assert expected["attention"] == sum(".attn" in path for path in paths)
    assert expected["feed_forward"] == sum(".ff." in path for path in paths)
    in_blocks = [path for path in paths if "resnets" in path or "samplers" in path]
    assert expected["convolutions"] == sum(isinstance(paths[path], nn.Conv2d) for path in in_blocks)
    everything = select(unet, "attention+feed_forward+convolutions")
    assert len(everything) == len(set(everything)) == sum(expected.values())


def test_the_output_projection_inside_its_list_is_a_target():
    assert "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0" in select(small.unet("sd1"), "attention")


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("to_q", "mid_block.attentions.0.transformer_blocks.0.attn1.to_q", True),
        ("to_out", "a.attn1.to_out.0", True),
        ("to_out.0", "a.attn1.to_out.0", True),
        ("attn2", "a.attn2.to_k", True),
        ("up_blocks.1.*.to_v", "up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_v", True),
        ("up_blocks.1", "up_blocks.1.attentions.0.proj_in", True),
        ("up_blocks.1", "up_blocks.10.attentions.0.proj_in", False),
        ("conv", "a.conv1", False),
        ("o_q", "a.to_q", False),
        ("to_.", "a.to_q", False),
    ],
)
def test_a_pattern_is_a_run_of_whole_parts(pattern, path, expected):
    assert matches(pattern, path) is expected


def test_patterns_and_blocks_choose_together():
    chosen = select(small.unet("sdxl"), ["attn1.to_q", "to_v"], blocks=["up_blocks.0.attentions.0"])
    inside = "up_blocks.0.attentions.0.transformer_blocks"
    ends = ("attn1.to_q", "attn1.to_v", "attn2.to_v")
    assert chosen == [f"{inside}.{block}.{end}" for block in (0, 1) for end in ends]


def test_patterns_that_match_nothing_are_all_named_with_what_comes_nearest():
    with pytest.raises(ConfigError, match=r'adapter\.targets.*"tp_q" \(did you mean "to_q"\?\), "atn1" .*"attn1"'):
        select(small.unet("sd1"), ["to_k", "tp_q", "atn1"])
    with pytest.raises(ConfigError, match=r'adapter\.blocks.*"up_block" \(did you mean "up_blocks'):
        select(small.unet("sd1"), "attention", ["up_block"])


def test_another_number_of_layers_than_the_architecture_has_is_refused():
    unet = small.unet("sd1")
    unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q = nn.Identity()
    with pytest.raises(ModelError, match=r"found 31 layers for attention where its configuration implies 32"):
        select(unet, "attention")
    with pytest.raises(ModelError, match="unknown architecture"):
        select(nn.Sequential(nn.Linear(2, 2)), "attention")
