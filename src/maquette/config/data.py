"""The sections about pictures: which ones to learn, how they are cut and captioned, and which ones keep the class."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from maquette.config.section import Count, Fraction, LocalPath, Positive, Section, Text, Whole


class CaptionConfig(Section):
    """What happens to a caption each time its picture is drawn."""

    dropout: Fraction = 0.0
    """Share of draws in which the caption is replaced by the empty one, so that guidance keeps its other side. Source:
    the reference trainers drop none; 0.1 is usual for pretraining (Ho and Salimans 2022, arXiv 2207.12598)."""
    shuffle: bool = False
    """Draw the order of the comma-separated tags afresh each time. Source: kohya's shuffle_caption, off there too."""
    keep_tokens: Whole = 0
    """How many leading tags stay in place when the others are shuffled. Source: kohya's keep_tokens, 0 there too."""
    flip_tag: Text | None = None
    """A tag that is added to the caption of a mirrored picture, so that the tag learns the mirroring and not what is
    learned beside it. Source: S0 ("horizontal_flip")."""
    name_tag: bool = False
    """Add the picture's file name, without its ending, as a tag. Source: S0, whose files are named for what they show.
    """


class CacheConfig(Section):
    """What is computed once instead of in every step."""

    latents: bool = True
    """Encode each picture once, as a distribution (mean and deviation), so that its noise still is fresh each time."""
    views: Count | None = None
    """How many crops and flips of each picture are kept, from which each step draws one. Unset: 1 where nothing is
    random, 2 for a flip alone, 8 with random crops."""
    dir: LocalPath | None = None
    """Where to keep encoded pictures between runs. Unset: in the run's own folder."""


class ConceptConfig(Section):
    """One of several things learned together: its pictures, its words, and the class it belongs to."""

    folder: LocalPath
    """Folder of pictures."""
    prompt: Text | None = None
    """The caption of all its pictures; replaces caption files. "[trigger]" stands for the trigger."""
    trigger: Text | None = None
    """The word or words that stand for it, put where captions say "[trigger]"."""
    phrase: Text | None = None
    """Tags that all its pictures share ("purple, lineart"). With phrase or tags each caption is the trigger, the phrase
    and the picture's own tags. Source: S0 (the "style" of its tag.json)."""
    tags: Mapping[Text, str] = {}
    """Tags of single pictures, by file name without its ending: {apple = "apple, fruit"}. Pictures that are not named
    here take theirs from a caption file beside them. Source: S0 (the "item" of its tag.json)."""
    virtual: bool = False
    """Learned beside the others to keep what the base knows, as various pictures of good quality do, and never called:
    not previewed, not scored, not named as a trigger. Source: S0 (virtual styles)."""
    repeats: Count = 1
    """How often each picture counts in one pass over the data."""
    class_prompt: Text | None = None
    """What its class images show; needs [class_images]. With [preservation]: what stands for its trigger there."""
    class_folder: LocalPath | None = None
    """Folder of its class images; needs [class_images]."""


class DataConfig(Section):
    """The pictures to learn from, and how they are prepared."""

    folder: LocalPath | None = None
    """Folder of pictures: flat with same-stem .txt or .caption files, with a metadata.jsonl, or with folders named
    like "10_sks dog"."""
    dataset: Text | None = None
    """Instead of a folder: the name of a Hugging Face data set, the folder of a saved one, or a parquet file. Needs the
    extra datasets: pip install "maquette[datasets]"."""
    dataset_config: Text | None = None
    """Which configuration of the data set."""
    split: Text | None = None
    """Which split of the data set, in the notation of `datasets` ("train[:100]"). Unset: train."""
    image_column: Text | None = None
    """The column with the pictures. Unset: the one column of pictures that there is."""
    caption_column: Text | None = None
    """The column, or the key of metadata.jsonl, with the captions. Unset: text, caption or prompt, whichever exists."""
    prompt: Text | None = None
    """The caption of all pictures, as in DreamBooth ("a photo of sks dog"); replaces caption files, with a warning."""
    trigger: Text | None = None
    """The word or words that stand for what is learned, put where captions say "[trigger]"."""
    repeats: Count = 1
    """How often each picture counts in one pass over the data. Source: S1 (repeats=1)."""
    resolution: Annotated[int, Field(ge=64, multiple_of=8)] | None = None
    """Side in pixels of the square whose area every picture is brought to. Unset: what the base was trained at (512,
    768 or 1024)."""
    size: Annotated[tuple[Count, Count], Field(strict=False)] | None = None
    """One fixed [height, width] in pixels for every picture, cropped and never squashed; instead of resolution, and
    with buckets = false."""
    buckets: bool = True
    """Keep each picture's shape: group them by aspect at equal area, and drop none. false crops all to one shape.
    Kandinsky's prior is always shown squares, which its image encoder would cut anyway."""
    upscale: bool = False
    """Accept pictures smaller than the resolution and enlarge them; otherwise they are an error that names them."""
    crop: Literal["center", "random"] = "center"
    """Where the part that does not fit is cut: in the middle, or drawn afresh each time. Source: S2 (centre)."""
    flip: bool = False
    """Mirror half of the draws; wrong for letters and anything with a side. Source: S1, S3 (off); S2 has it on."""
    masks: Literal["off", "alpha", "label", "folder"] = "off"
    """Count the loss only where a mask is bright: the alpha channel, NAME-masklabel.png beside the picture, or the
    same-named picture in mask_folder."""
    mask_folder: LocalPath | None = None
    """Folder of masks, for masks = "folder"."""
    captions: CaptionConfig = CaptionConfig()
    cache: CacheConfig = CacheConfig()


class ClassImagesConfig(Section):
    """Prior preservation: pictures of the class, learned beside the subject's so that the class is not forgotten.

    Source: Ruiz et al. 2022 (arXiv 2208.12242) section 3.2.
    """

    folder: LocalPath | None = None
    """Folder of class pictures, real ones or generated earlier. Source: S1 (real pictures keep faces real)."""
    prompt: Text | None = None
    """What the base is asked for to make missing class pictures ("a photo of a dog"), and their caption."""
    count: Count | None = None
    """How many class pictures there must be; missing ones are generated from the prompt. Unset: 100, or as many as the
    folder has when there is no prompt. Source: diffusers (100); S3 uses 200."""
    weight: Positive = 1.0
    """lambda, the weight of the class loss beside the subject's. Source: S3, diffusers (1.0)."""
    steps: Count = 25
    """Sampling steps for generated class pictures. Source: `maquette generate`."""
    guidance: Annotated[float, Field(ge=1)] | None = None
    """Guidance for generated class pictures. Unset: as in `maquette generate`."""


class PreservationConfig(Section):
    """Output preservation: keep what the base makes of the class, without class images. In every step the trained model
    is also asked with the class in place of the trigger, and held to what the frozen base answers to the same noise.

    The base is the model with its adapter switched off: no second copy is in memory. A step takes about twice as long.
    Source: ours, after the knowledge distillation of Li and Hoiem 2016 (arXiv 1606.09282).
    """

    class_prompt: Text | None = None
    """What captions say to the base in place of data.trigger ("dog" for "sks dog"); captions without the trigger are
    replaced whole ("a photo of a dog"). With [[concepts]], each has its own."""
    weight: Positive = 1.0
    """Weight of the squared difference to the base, beside the subject's loss. Source: that of class images (1.0)."""
