"""Step -> training batches: what the mix draws, cut, encoded or read from the cache, and captioned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from maquette.config.data import DataConfig
from maquette.config.schema import RunConfig
from maquette.data import mix
from maquette.data.buckets import nearest_size
from maquette.data.cache import Cache, key_of
from maquette.data.encode import Encoders, collated, concatenated, encoders
from maquette.data.gather import training_sizes
from maquette.data.image import show_mask
from maquette.data.masks import read_mask
from maquette.data.sample import Sample, Size
from maquette.data.texts import Texts, classes_of
from maquette.data.view import View, centre_view, kept_views, num_views, random_view
from maquette.errors import DataError
from maquette.families.base import Family
from maquette.families.vocabulary import grown_tables
from maquette.types import ImageCode, TrainBatch, Words


@dataclass(frozen=True, slots=True)
class Parts(Sequence[TrainBatch]):
    """The micro-batches of a step, each made when it is asked for: of several processes, each makes only its own."""

    rows: Sequence[mix.MicroBatch]
    make: Callable[[mix.MicroBatch], TrainBatch]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> TrainBatch: ...

    @overload
    def __getitem__(self, index: slice) -> "Parts": ...

    def __getitem__(self, index: int | slice) -> "TrainBatch | Parts":
        if isinstance(index, slice):
            return Parts(self.rows[index], self.make)
        return self.make(self.rows[index])


@dataclass(slots=True)
class Dataset:
    """The batches of a run, as a function of the step.

    plan: which pictures, from ``mix.plan`` over ``entries``, in the order of ``samples``. texts: what is said of these.
    text_trained: batches carry token ids instead of finished conditioning, before the step ``text_settled_at`` if there
    is one: from there on the text encoders rest, and what they make of a caption is kept in memory. A batch from that
    step on must be asked for when the steps before it are done. Everything random (view, caption) depends on (seed,
    step, slot) alone.
    """

    samples: Sequence[Sample]
    sizes: Sequence[Size]
    plan: mix.Plan
    encoders: Encoders
    texts: Texts
    config: DataConfig
    seed: int
    text_trained: bool = False
    text_settled_at: int | None = None
    _settled: tuple[tuple[int, ...], Encoders] | None = field(default=None, init=False)
    _masks: Cache = field(default_factory=Cache, init=False)
    _kept: dict[int, Sequence[View]] = field(default_factory=dict, init=False)

    @property
    def needs_image_encoder(self) -> bool:
        """Whether pictures are still encoded after ``prepare``; if not, the autoencoder may leave the device."""
        return not self.config.cache.latents

    @property
    def needs_text_encoder(self) -> bool:
        """Whether captions are still embedded after ``prepare``."""
        return self.text_trained or self.config.captions.shuffle

    def prepare(self, report: Callable[[int, int, str], None] | None = None, share: slice = slice(None)) -> None:
        """Encode everything that will be read from the cache; ``report`` is told (done, total, name) after each.

        share: which part of the work, where several processes fill one cache.

        All damaged, changed and unusable pictures are listed in one DataError.
        """
        views, texts = self.to_keep()
        work: list[tuple[str, Callable[[], object]]] = []
        work += [(self.samples[i].name, lambda i=i, view=view: self._shown(i, view)) for i, view in views]
        work += [(text, lambda text=text: self.encoders.text(text, keep=True)) for text in texts]
        work = work[share]
        problems: dict[str, None] = {}
        for done, (name, do) in enumerate(work, 1):
            try:
                do()
            except DataError as error:
                problems[str(error)] = None
            if report is not None:
                report(done, len(work), name)
        if problems:
            raise DataError("\n".join(problems))

    def to_keep(self) -> tuple[list[tuple[int, View]], list[str]]:
        """What is encoded once and read back in every step: views of pictures, by the picture's index, and captions."""
        views = [(i, view) for i in range(len(self.samples)) for view in self._views(i)]
        return views if self.config.cache.latents else [], [] if self.needs_text_encoder else self.texts.all()

    def batches_at(self, step: int) -> Sequence[TrainBatch]:
        """The micro-batches of a step, from 0, for ``training.loop.train``."""
        return Parts(self.plan(step), partial(self._batch, step))

    def names_at(self, step: int) -> list[str]:
        """The pictures of a step, for messages."""
        return [self.samples[i].name for rows in self.plan(step) for i in rows.indices]

    def size_of(self, index: int) -> Size:
        """(height, width) that a picture is trained at."""
        return nearest_size(self.samples[index].size, self.sizes)

    def still(self, index: int) -> TrainBatch:
        """One picture with nothing random about it: its middle, its caption as it is. For validation."""
        sample = self.samples[index]
        view = centre_view(sample.size, self.size_of(index))
        return self._collated([index], [view], [sample.caption], [1.0], self.text_trained)

    def _batch(self, step: int, rows: mix.MicroBatch) -> TrainBatch:
        drawn = list(zip(rows.indices, rows.slots, strict=True))
        views = [self._view(i, Random(f"{self.seed}/view/{step}/{slot}")) for i, slot in drawn]
        texts = [
            self.texts.drawn(i, Random(f"{self.seed}/caption/{step}/{slot}"), flip=view.flip)
            for (i, slot), view in zip(drawn, views, strict=True)
        ]
        is_settled = self.text_settled_at is not None and step >= self.text_settled_at
        as_tokens = self.text_trained and not is_settled
        batch = self._collated(rows.indices, views, texts, rows.weights, as_tokens)
        if not self.texts.classes:
            return batch
        asked = self.texts.of_classes(rows.indices, texts)
        return replace(batch, class_words=self._words(rows.indices, asked, as_tokens))

    def _collated(
        self,
        indices: Sequence[int],
        views: Sequence[View],
        texts: Sequence[str],
        weights: Sequence[float],
        as_tokens: bool,
    ) -> TrainBatch:
        device = self.encoders.device
        shown = [self._shown(i, view) for i, view in zip(indices, views, strict=True)]
        code = collated([code for code, _ in shown], device)
        words = self._words(indices, texts, as_tokens)
        return TrainBatch(
            code=ImageCode(code.mean, code.std, {**code.cond, **words.cond}),
            tokens=words.tokens,
            weight=torch.tensor(weights, device=device),
            concept=torch.tensor([self.samples[i].concept for i in indices], device=device),
            mask=masks_together([mask for _, mask in shown], device),
        )

    def _words(self, indices: Sequence[int], texts: Sequence[str], as_tokens: bool) -> Words:
        device, shuffle = self.encoders.device, self.config.captions.shuffle
        if as_tokens:
            return Words({}, {name: ids.to(device) for name, ids in self.encoders.family.tokenize(texts).items()})
        # Shuffled captions rarely come twice: keeping them would fill the memory.
        keep = [not shuffle or self.samples[i].is_class for i in indices]
        encoders = self._settled_encoders() if self.text_trained else self.encoders
        made = [encoders.text(text, keep=k) for text, k in zip(texts, keep, strict=True)]
        return Words(concatenated(made, device), {})

    def _settled_encoders(self) -> Encoders:
        """The encoders with a cache of their own, for as long as the new tokens are what they are now.

        What was kept before, on disk perhaps, was made by other rows.
        """
        state = tuple(table.new.weight._version for table in grown_tables(self.encoders.family).values())
        if self._settled is None or self._settled[0] != state:
            self._settled = state, replace(self.encoders, cache=Cache())
        return self._settled[1]

    def _shown(self, index: int, view: View) -> tuple[ImageCode, Float[Tensor, "1 1 h w"] | None]:
        code = self.encoders.image(self.samples[index], view, keep=self.config.cache.latents)
        return code, self._mask(index, view)

    def _views(self, index: int) -> Sequence[View]:
        """The views of a picture that are kept."""
        if index not in self._kept:
            sample, crop, flip = self.samples[index], self.config.crop == "random", self.config.flip
            num = self.config.cache.views or num_views(crop=crop, flip=flip)
            key = sample.digest
            self._kept[index] = kept_views(sample.size, self.size_of(index), num=num, crop=crop, flip=flip, key=key)
        return self._kept[index]

    def _view(self, index: int, rng: Random) -> View:
        if self.config.cache.latents:
            return rng.choice(self._views(index))
        original, crop = self.samples[index].size, self.config.crop == "random"
        return random_view(original, self.size_of(index), rng, crop=crop, flip=self.config.flip)

    def _mask(self, index: int, view: View) -> Float[Tensor, "1 1 h w"] | None:
        """How much each position of the code counts; kept in memory, since it is small and its file may change."""
        if self.samples[index].mask is None:
            return None
        if not self.config.cache.latents:
            return self._shown_mask(index, view)
        facts = {"index": index, "size": view.size, "crop": view.crop, "flip": view.flip}
        return self._masks.get(key_of("mask", facts), lambda: {"mask": self._shown_mask(index, view)})["mask"]

    def _shown_mask(self, index: int, view: View) -> Float[Tensor, "1 1 h w"]:
        sample = self.samples[index]
        mask = read_mask(sample)
        if mask is None:
            raise DataError(f"{sample.name}: its mask is gone; put it back.")
        shown = avg_pool2d(torch.tensor(show_mask(mask, view))[None, None], self.encoders.family.latent_factor)
        if not bool(shown.any()):
            cure = 'Use data.crop = "center" or data.buckets = true, or crop the picture around what counts.'
            raise DataError(
                f"{sample.name}: cropping to {view.size[0]}x{view.size[1]} leaves nothing of its mask. {cure}"
            )
        return shown


def masks_together(masks: Sequence[Float[Tensor, "1 1 h w"] | None], device: torch.device) -> Tensor | None:
    """The masks of a batch, ones for pictures that are learned whole; None if all of them are."""
    given = [mask for mask in masks if mask is not None]
    if not given:
        return None
    return torch.cat([torch.ones_like(given[0]) if mask is None else mask for mask in masks]).to(device)


def build(
    config: RunConfig, samples: Sequence[Sample], family: Family, cache: Path | None, device: torch.device
) -> Dataset:
    """The data set of a run over samples that were found usable. To be made before adapters are attached.

    cache: where encoded pictures are kept between runs; config.data.cache.dir comes first, None keeps them in memory.
    """
    kept = Cache(config.data.cache.dir or cache)
    return over(config, samples, encoders(family, kept, device, clip_skip=config.model.clip_skip))


def over(config: RunConfig, samples: Sequence[Sample], encoders: Encoders) -> Dataset:
    """The data set of a run over samples and what encodes them."""
    family = encoders.family
    sizes = training_sizes(config.data, family)
    entries = [mix.Entry(nearest_size(s.size, sizes), s.concept, s.repeats, s.is_class) for s in samples]
    make = partial(
        mix.plan,
        seed=config.training.seed,
        batch_size=config.training.batch_size,
        accumulation=config.training.gradient_accumulation,
        class_weight=1.0 if config.class_images is None else config.class_images.weight,
        sampler="cycle" if config.pack is None else config.pack.sampler,
    )
    return Dataset(
        samples,
        sizes,
        mix.side_by_side(entries, make) if config.is_bank else make(entries),
        encoders,
        Texts(samples, config.data.captions, classes_of(config)),
        config.data,
        config.training.seed,
        text_trained=config.text_encoder.train != "none" or config.tokens is not None,
        text_settled_at=None if config.tokens is None else config.tokens.stop_step,
    )
