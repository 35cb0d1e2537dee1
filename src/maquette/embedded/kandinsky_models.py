"""The networks of kandinsky-64 but for its autoencoder: Kandinsky 2.2's architectures at the size of maquette-64."""

import torch
from diffusers.models.transformers.prior_transformer import PriorTransformer
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_unclip import UnCLIPScheduler
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as CLIPImageProcessor

from maquette.embedded.bank import SIZE
from maquette.embedded.models import LATENTS, WIDTH
from maquette.embedded.sittings import carry_over
from maquette.training.seeds import global_generators, key_at


def new_image_encoder(seed: int) -> CLIPVisionModelWithProjection:
    """Four layers over 8x8 patches of 8 pixels; its embeddings are as wide as a text token, as in Kandinsky."""
    with global_generators(key_at(seed, 0, stream="image_encoder")):
        return CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=WIDTH,
                intermediate_size=4 * WIDTH,
                num_hidden_layers=4,
                num_attention_heads=4,
                image_size=SIZE,
                patch_size=8,
                projection_dim=WIDTH,
            )
        )


def new_image_processor() -> CLIPImageProcessor:
    """Pictures as they are, in [-1, 1]: what the training pictures are scaled to."""
    return CLIPImageProcessor(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def new_text_encoder(seed: int, base: CLIPTextModel) -> CLIPTextModelWithProjection:
    """The base's, with a projection to the embeddings of pictures behind it."""
    with global_generators(key_at(seed, 0, stream="text_projection")):
        encoder = CLIPTextModelWithProjection(base.config).float()  # the base's config says how its files hold weights
    encoder.text_model.load_state_dict(base.state_dict())
    return encoder


def new_denoiser(seed: int, base: UNet2DConditionModel) -> UNet2DConditionModel:
    """The base's levels, told an image embedding instead of text; the base's convolutions, where they fit."""
    with global_generators(key_at(seed, 0, stream="kandinsky denoiser")):
        unet = UNet2DConditionModel(
            sample_size=16,
            in_channels=LATENTS,
            out_channels=2 * LATENTS,
            block_out_channels=(64, 128, 128),
            down_block_types=("ResnetDownsampleBlock2D", *("SimpleCrossAttnDownBlock2D",) * 2),
            up_block_types=(*("SimpleCrossAttnUpBlock2D",) * 2, "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            layers_per_block=1,
            cross_attention_dim=WIDTH,
            encoder_hid_dim=WIDTH,
            encoder_hid_dim_type="image_proj",
            addition_embed_type="image",
            attention_head_dim=32,
            resnet_time_scale_shift="scale_shift",
            norm_num_groups=16,
        )
    carry_over(unet, base)
    with torch.no_grad():  # the first half of the channels is the noise
        for own, carried in zip(unet.conv_out.parameters(), base.conv_out.parameters(), strict=True):
            own[:LATENTS] = carried
    return unet


def new_prior(seed: int, embeds: Float[Tensor, "n d"] | None = None) -> PriorTransformer:
    """Four layers of 128. embeds: of many pictures; their mean and deviation are what it normalises by."""
    with global_generators(key_at(seed, 0, stream="prior")):
        prior = PriorTransformer(
            num_attention_heads=4, attention_head_dim=WIDTH // 4, num_layers=4, embedding_dim=WIDTH
        )
        assert prior.prd_embedding is not None
        for empty in (prior.positional_embedding, prior.prd_embedding):  # diffusers leaves them at 0
            nn.init.normal_(empty, std=0.02)
    with torch.no_grad():
        prior.clip_mean.copy_(torch.zeros(WIDTH) if embeds is None else embeds.mean(0))
        prior.clip_std.copy_(torch.ones(WIDTH) if embeds is None else embeds.std(0))
    return prior


def new_decoder_scheduler() -> DDPMScheduler:
    """Kandinsky 2.2's noise schedule, epsilon prediction.

    Samplers use the posterior's own variance: the channels for a learned one are not trained.
    """
    return DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False, steps_offset=1)


def new_prior_scheduler() -> UnCLIPScheduler:
    """Kandinsky 2.2's: the clean sample is predicted, on a cosine schedule."""
    return UnCLIPScheduler(
        variance_type="fixed_small_log", prediction_type="sample", clip_sample=True, clip_sample_range=5.0
    )
