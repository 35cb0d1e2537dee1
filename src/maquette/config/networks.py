"""Which networks score pictures: a table of a configuration, or a file of its own for `maquette evaluate`."""

from typing import Literal

from maquette.config.section import LocalOrHub, Section, Text


class NetworksConfig(Section):
    """The network of each role. "judge" and "verifier" are the embedded judges, which know the embedded world alone.

    Everything else is a folder or file of this machine, or an id on the hub; docs/evaluation.md says which files.
    """

    image: LocalOrHub = "judge"
    """CLIP, for pictures and text: a folder in transformers' layout, or "openai/clip-vit-large-patch14" and the like.
    Source: DreamBooth, S0 (ViT-L/14); S2 (ViT-B/32)."""
    instance: LocalOrHub = "judge"
    """Which very object a picture shows: DINO ("facebook/dino-vits16"), DINOv2 ("facebook/dinov2-base") or CLIP.
    Source: DreamBooth (DINO ViT-S/16), S0 (DINOv2 base)."""
    style: LocalOrHub = "judge"
    """How a picture is made: CLIP, DINO or DINOv2. Source: ZipLoRA (CLIP)."""
    face: LocalOrHub = "judge"
    """Whose face a picture shows: an ONNX file that embeds an aligned face. OpenCV finds the faces (extra faces)."""
    face_values: Literal["-1..1", "0..1", "0..255"] = "-1..1"
    """What the face network takes the bytes 0 to 255 as. Source: ArcFace, GhostFaceNet (-1..1)."""
    face_channels: Literal["rgb", "bgr"] = "rgb"
    """The order of colours that the face network takes. Source: ArcFace (rgb)."""
    perceptual: LocalOrHub = "judge"
    """LPIPS: a folder with the weights of AlexNet, SqueezeNet or VGG-16 and those of its linear heads, or one file
    with both. Source: DreamBooth (AlexNet), S0 (SqueezeNet)."""
    distribution: LocalOrHub = "judge"
    """FID's Inception as a file ("pt_inception-2015-12-05-6726825d.pth"), or DINOv2, DINO or CLIP for their Fréchet
    distances."""
    device: Text = "auto"
    """Where they run: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps"."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """How their weights are held; the judges are always fp32. Published numbers are made in fp32."""
