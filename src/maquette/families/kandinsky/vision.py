"""Pictures to the image embeddings that Kandinsky 2.2 is built on, as its pipelines make them."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as CLIPImageProcessor

from maquette.errors import ModelError
from maquette.families.parts import Options
from maquette.families.weights import blank, fill, read_json, tensors_in


def embed(
    encoder: CLIPVisionModelWithProjection, processor: CLIPImageProcessor, pixels: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b d"]:
    """The embedding of each picture, in fp32. pixels: in [-1, 1], as 8-bit pictures are scaled."""
    prepared = prepare(processor, pixels).to(encoder.device, encoder.dtype)
    return encoder(pixel_values=prepared).image_embeds.float()


def prepare(processor: CLIPImageProcessor, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 s s"]:
    """What CLIP's own preparation makes of the same 8-bit pictures: shrunk, the middle square cut out, normalised."""
    side = crop_side(processor)
    if pixels.is_meta:  # a plan has shapes alone
        return pixels.new_empty(len(pixels), 3, side, side)
    pictures = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    made = processor(list(pictures), return_tensors="pt", input_data_format="channels_last")
    return torch.as_tensor(made["pixel_values"])


def crop_side(processor: CLIPImageProcessor) -> int:
    """Side in pixels of the square that the encoder is shown; 224 for the published model."""
    return int(dict(processor.crop_size)["height"])


def check_fit(encoder: CLIPVisionModelWithProjection, processor: CLIPImageProcessor) -> None:
    """Raise ModelError where pictures are not prepared at the size that the encoder takes."""
    shown, takes = dict(processor.crop_size), encoder.config.image_size
    if (shown["height"], shown["width"]) != (takes, takes):
        raise ModelError(
            f"The parts of the model do not fit: its image processor cuts pictures to {shown['height']}x"
            f"{shown['width']} (crop_size in preprocessor_config.json), and its image encoder takes {takes}x{takes} "
            "(image_size in its config.json). Use one prior's own parts."
        )


def read_image_encoder(folder: Path, options: Options, dtype: torch.dtype) -> CLIPVisionModelWithProjection:
    """The image encoder in ``folder``. Raises ModelError where it is missing, damaged or of another kind."""
    config = CLIPVisionConfig.from_dict(dict(read_json(folder / "config.json")))
    encoder = blank(lambda: CLIPVisionModelWithProjection(config), str(folder))
    return fill(encoder, tensors_in(folder, options.variant), options.device, dtype, str(folder))


def read_image_processor(folder: Path) -> CLIPImageProcessor:
    """How pictures are prepared for the image encoder, from ``folder``. Raises ModelError where it does not say."""
    settings = {
        key: value for key, value in read_json(folder / "preprocessor_config.json").items() if value is not None
    }
    processor = CLIPImageProcessor.from_dict(settings)
    if not processor.do_center_crop or processor.crop_size is None:
        raise ModelError(
            f"{folder}: does not crop pictures to a square, which CLIP's image encoder needs. Get it again."
        )
    return processor
