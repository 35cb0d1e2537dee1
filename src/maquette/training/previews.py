"""Pictures along the way: the trained weights as they would be exported, through the code of ``maquette generate``."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from maquette.adapters.bank import as_concept
from maquette.config.bank import asked_for
from maquette.config.schema import RunConfig
from maquette.data.sample import Sample
from maquette.errors import ConfigError
from maquette.families.base import Family
from maquette.generation.batch import described
from maquette.generation.files import settings_of, write_picture
from maquette.generation.sample import Picture, Request, is_black, painter
from maquette.runs.events import Event, Previewed, Warned
from maquette.runs.rundir import RunDir
from maquette.training.ema import ready_to_use
from maquette.training.prepare import Job


def requests_for(config: RunConfig, samples: Sequence[Sample], family: Family) -> list[list[Request]]:
    """The requests of the previews, as ``requests_of``; none where the base is only a part of what makes pictures."""
    return [] if family.pictures() is None else requests_of(config, samples)


def requests_of(config: RunConfig, samples: Sequence[Sample]) -> list[list[Request]]:
    """For each prompt of the previews, its requests with consecutive seeds."""
    preview = config.preview
    prompts = preview.prompts or default_prompts(called(config, samples))
    for prompt in prompts:
        concept_of(config, prompt)
    return [
        [
            Request(
                prompt=prompt,
                seed=preview.seed + i,
                negative=preview.negative,
                steps=preview.steps,
                guidance=preview.guidance,
                scheduler=preview.scheduler,
            )
            for i in range(preview.num)
        ]
        for prompt in prompts
    ]


def called(config: RunConfig, samples: Sequence[Sample]) -> list[Sample]:
    """The samples of the concepts that are learned to be called: all but the virtual ones."""
    virtual = {number for number, concept in enumerate(config.concepts) if concept.virtual}
    return [sample for sample in samples if sample.concept not in virtual]


def concept_of(config: RunConfig, prompt: str) -> int:
    """Whose adapter of a bank a prompt asks for, as ``asked_for`` says; 0 where there is one adapter.

    Raises ConfigError for a prompt that names no concept of the bank.
    """
    if not config.is_bank:
        return 0
    asked = asked_for(config, prompt)
    if asked is None:
        triggers = ", ".join(concept.trigger for concept in config.concepts if concept.trigger)
        raise ConfigError(
            f'preview.prompts: "{prompt}" asks for none of the bank\'s adapters: say which, by its trigger '
            f"({triggers})."
        )
    return asked


def default_prompts(samples: Sequence[Sample]) -> Sequence[str]:
    """The first caption of each concept."""
    first: dict[int, str] = {}
    for sample in samples:
        if not sample.is_class:
            first.setdefault(sample.concept, sample.caption)
    return list(first.values())


@contextmanager
def as_exported(job: Job) -> Generator[None]:
    """Inside, the parameters are what an export would write: the moving average where there is one."""
    with ready_to_use(job.optimizer):
        if job.ema is None:
            yield
        else:
            with job.ema.applied():
                yield


def make_previews(job: Job, run: RunDir, step: int, requests: Sequence[Sequence[Request]]) -> Iterator[Event]:
    """Make the previews of a step; yield what happened."""
    wanted = [
        (run.preview(step, number, request.seed), request) for number, row in enumerate(requests) for request in row
    ]
    for path, request, picture in painted(job, run, wanted):
        yield Previewed(step, request.prompt, request.seed, run.relative(path))
        yield from told_if_black(step, path, picture)


def painted(job: Job, run: RunDir, wanted: Sequence[tuple[Path, Request]]) -> Iterator[tuple[Path, Request, Picture]]:
    """Paint and write pictures, each to its path, with what is trained as it is now.

    A picture's settings say the base and the run, as ``maquette generate --adapter RUN`` would.
    """
    if not wanted:
        return
    made_with = described(job.config.model, [(run.root, 1.0)])
    with as_exported(job), job.idle.present(), painter(job.family) as paint:
        for path, request in wanted:
            with as_concept(job.trainable, concept_of(job.config, request.prompt)):
                picture = paint(request)
            write_picture(path, picture, settings_of(request, made_with))
            yield path, request, picture


def told_if_black(step: int, path: Path, picture: Picture) -> Iterator[Warned]:
    """A warning about a picture that is black throughout."""
    if is_black(picture):
        yield Warned(
            step,
            f"{path.name} is black: numbers overflowed while it was made. With fp16, use model.precision = "
            '"bf16" or "fp32", or a VAE made for half precision (model.vae).',
        )
