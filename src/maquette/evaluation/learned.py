"""What the things under evaluation have learned: the concepts, what prompts call them, and real pictures of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.config.checks import TRIGGER
from maquette.config.schema import RunConfig
from maquette.config.suite import CLASS, SuiteConfig
from maquette.data.gather import gather, subject_sources
from maquette.data.sample import Sample
from maquette.errors import ConfigError, DataError
from maquette.evaluation.dreambooth import Lists
from maquette.evaluation.pictures import Real, real_of
from maquette.evaluation.target import Target
from maquette.evaluation.wording import Wording, noun_of, phrase_in, phrase_of
from maquette.report.pictures import FOLDER, read_thumbnails


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says of the subject; None is left to the run.

    subject: its name in prompts ("sks dog"). noun: its class ("dog"). references: a folder of real pictures, or of such
    folders by concept.
    """

    subject: str | None = None
    noun: str | None = None
    references: Path | None = None


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing that is asked for. real: pictures of it. captions: what training said of it."""

    name: str
    noun: str
    real: tuple[Real, ...]
    captions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """What a run tells of one of its concepts. trigger: what stands for it in captions, if the run says so."""

    name: str
    trigger: str | None
    captions: tuple[str, ...]
    samples: tuple[Sample, ...]
    class_prompt: str | None


def concepts_of(
    targets: Sequence[Target], suite: SuiteConfig, asked: Asked, lists: Lists | None, *, needs_real: bool
) -> list[Concept]:
    """The concepts to ask all targets for: those of the first run among them, else the one that is asked about.

    needs_real: whether some metric compares with real pictures.
    Raises ConfigError or DataError where it is not known what to ask for, or what to compare with.
    """
    run = next((target for target in targets if target.config is not None), None)
    known = _known(run) if run is not None else []
    if not known:
        name = asked.references.resolve().name if asked.references is not None else "subject"
        known = [_Known(name, None, (), (), None)]
    if asked.subject is not None and len(known) > 1:
        raise ConfigError(f"--subject {asked.subject}: the run learned {len(known)} things; leave --subject out.")
    real = _references(known, asked, needs_real)
    concepts = []
    for each, pictures in zip(known, real, strict=True):
        phrase = asked.subject or phrase_of(each.captions, each.trigger) or _trigger(targets)
        captions = tuple(caption for target in targets for caption in _captions(target, each.name, len(known)))
        concepts.append(Concept(each.name, _noun(each, phrase, suite, asked, lists), pictures, captions))
    return concepts


def wording_of(target: Target, concept: Concept, number: int, asked: Asked) -> Wording:
    """What one of the targets calls a concept: its own trigger; the base, and who has none, knows the noun alone."""
    if target.is_base:
        return Wording(concept.noun, concept.noun)
    if asked.subject is not None:
        return Wording(asked.subject, concept.noun)
    known = _known(target) if target.config is not None else []
    phrase = phrase_of(known[number].captions, known[number].trigger) if number < len(known) else ""
    return Wording(phrase or _trigger([target]) or concept.noun, concept.noun)


def _known(target: Target) -> list[_Known]:
    """The concepts of a run, with what its pictures say, or, where these are gone, what it kept of their captions."""
    config = target.config
    assert config is not None
    if config.data.dataset is not None:
        names = [Path(config.data.dataset).name]
    else:
        names = [source.folder.name for source in subject_sources(config)]
    samples = _samples(config)
    known = []
    for number, name in enumerate(names):
        own = tuple(sample for sample in samples if sample.concept == number)
        captions = tuple(sample.caption for sample in own) or _kept_captions(target, config, number)
        words = config.concepts[number] if config.concepts else config.data
        known.append(_Known(name, words.trigger, captions, own, _class_prompt(config, number)))
    return known


def _samples(config: RunConfig) -> list[Sample]:
    """The subject's training pictures; none where their folder is gone."""
    folders = [] if config.data.dataset is not None else [source.folder for source in subject_sources(config)]
    if not all(folder.is_dir() for folder in folders):
        return []
    found = gather(config.model_copy(update={"class_images": None}))
    return [sample for sample in found.samples if not sample.is_class]


def _kept_captions(target: Target, config: RunConfig, number: int) -> tuple[str, ...]:
    words = config.concepts[number] if config.concepts else config.data
    if words.prompt is not None:
        return (words.prompt.replace(TRIGGER, words.trigger or ""),)
    if config.concepts or target.run is None:
        return ()
    return tuple(picture.caption for picture in read_thumbnails(target.run.root / FOLDER))


def _class_prompt(config: RunConfig, number: int) -> str | None:
    if config.concepts:
        return config.concepts[number].class_prompt
    return config.class_images.prompt if config.class_images is not None else None


def _captions(target: Target, name: str, count: int) -> tuple[str, ...]:
    """What a target was shown of a concept; one that learned a single thing is asked about that thing by any name."""
    known = _known(target) if target.config is not None else []
    return tuple(c for each in known if each.name == name or count == len(known) == 1 for c in each.captions)


def _trigger(targets: Sequence[Target]) -> str:
    for target in targets:
        own = target.config.data.trigger if target.config is not None else None
        if trigger := own or target.trigger:
            return trigger
    return ""


def _noun(known: _Known, phrase: str, suite: SuiteConfig, asked: Asked, lists: Lists | None) -> str:
    listed = lists.classes.get(known.name) if lists is not None else None
    said = phrase_in([known.class_prompt]) if known.class_prompt else None
    noun = asked.noun or listed or said or suite.noun or noun_of(phrase)
    if noun is not None:
        return noun
    texts = [words for prompt in suite.prompts for words in (prompt.text, prompt.scored or prompt.text)]
    if not phrase and not any(CLASS in words for words in texts):
        return ""
    about = f'the word "{phrase}"' if phrase else "what was learned"
    raise ConfigError(
        f"It is not known what {about} is: text scores and the base need a common noun for it. Say it with --class, "
        'such as --class dog, and how prompts call it with --subject, such as --subject "sks dog".'
    )


def _references(known: Sequence[_Known], asked: Asked, needs_real: bool) -> list[tuple[Real, ...]]:
    if asked.references is None:
        real = [tuple(Real(sample.name, sample.read()) for sample in each.samples) for each in known]
        if needs_real and (lacking := [each.name for each, those in zip(known, real, strict=True) if not those]):
            raise DataError(
                f"There are no real pictures of {', '.join(lacking)} to compare with: the training pictures are not "
                "there, or are not known. Name a folder of them with --references."
            )
        return real
    return real_of(asked.references, [each.name for each in known])
