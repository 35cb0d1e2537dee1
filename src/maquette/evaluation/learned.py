"""What the things under evaluation have learned: the concepts, what prompts call them, and real pictures of them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maquette.config.data import ConceptConfig
from maquette.config.schema import RunConfig
from maquette.config.suite import CLASS, SuiteConfig
from maquette.config.words import expand
from maquette.data.gather import gather, subject_sources
from maquette.data.sample import Sample
from maquette.errors import ConfigError, DataError
from maquette.evaluation.dreambooth import Lists
from maquette.evaluation.pictures import Real, real_of
from maquette.evaluation.target import Target
from maquette.evaluation.wording import Wording, noun_of, phrase_in, phrase_of
from maquette.report.pictures import FOLDER, read_thumbnails

logger = logging.getLogger(__name__)


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
    """What a run tells of one of its concepts. trigger, noun: its words in captions and its class, if told."""

    name: str
    trigger: str | None
    captions: tuple[str, ...]
    samples: tuple[Sample, ...]
    noun: str | None


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
    if lists is not None:
        names = lists.called([each.name for each in known], asked.references)
        known = [replace(each, name=name) for each, name in zip(known, names, strict=True)]
    if asked.subject is not None and len(known) > 1:
        raise ConfigError(f"--subject {asked.subject}: the run learned {len(known)} things; leave --subject out.")
    real = _references(known, asked, needs_real)
    matched = [_matched(target, known, asked) for target in targets]
    concepts = []
    for number, (each, pictures) in enumerate(zip(known, real, strict=True)):
        phrase = asked.subject or phrase_of(each.captions, each.trigger) or _trigger(targets)
        shown = [own[number] for own in matched]
        captions = tuple(caption for one in shown if one is not None for caption in one.captions)
        concepts.append(Concept(each.name, _noun(each, phrase, suite, asked, lists), pictures, captions))
    return concepts


def wordings_of(target: Target, concepts: Sequence[Concept], asked: Asked) -> list[Wording]:
    """What a target calls each concept: by its own trigger; who has not learned it, as the base, knows the noun."""
    if target.is_base:
        phrases = [""] * len(concepts)
    elif asked.subject is not None:
        phrases = [asked.subject] * len(concepts)
    elif target.config is None:
        phrases = [target.trigger or ""] * len(concepts)
    else:
        found = _counterparts(_known(target), concepts)
        phrases = ["" if known is None else phrase_of(known.captions, known.trigger) for known in found]
    return [Wording(phrase or each.noun, each.noun) for phrase, each in zip(phrases, concepts, strict=True)]


def _known(target: Target) -> list[_Known]:
    """The concepts of a run, with what its pictures say, or, where these are gone, what it kept of their captions."""
    config = target.config
    if config is None:
        return []
    if config.data.dataset is not None:
        names = [Path(config.data.dataset).name]
    else:
        names = _names([source.folder for source in subject_sources(config)])
    samples = _samples(config)
    known = []
    for number, name in enumerate(names):
        own = tuple(sample for sample in samples if sample.concept == number)
        captions = tuple(sample.caption for sample in own) or _kept_captions(target, config, number)
        words = config.concepts[number] if config.concepts else config.data
        if isinstance(words, ConceptConfig) and words.virtual:  # learned beside the others, and never called
            continue
        known.append(_Known(name, words.trigger, captions, own, _class_noun(config, number)))
    return known


def _names(folders: Sequence[Path]) -> list[str]:
    """What concepts are called: like their folders, with the folder above where two would be called alike."""
    names = [folder.name for folder in folders]
    return [
        f"{folder.parent.name}/{name}" if names.count(name) > 1 else name
        for folder, name in zip(folders, names, strict=True)
    ]


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
        return (expand(words.prompt, words.trigger or ""),)
    if config.concepts or target.run is None:
        return ()
    return tuple(picture.caption for picture in read_thumbnails(target.run.root / FOLDER))


def _class_noun(config: RunConfig, number: int) -> str | None:
    """What the settings say that a concept is, itself or by what its class images show."""
    if config.concepts:
        class_prompt = config.concepts[number].class_prompt
    else:
        class_prompt = config.class_images.prompt if config.class_images is not None else None
    return config.evaluation.class_noun or phrase_in([class_prompt or ""]) or None


def _counterparts(known: Sequence[_Known], concepts: Sequence[_Known | Concept]) -> list[_Known | None]:
    """Which of the things that a run has learned is each concept: that of its name, or the only one of each."""
    if len(known) == len(concepts) == 1:
        return list(known)
    by_name = {each.name: each for each in known}
    return [by_name.get(concept.name) for concept in concepts]


def _matched(target: Target, known: Sequence[_Known], asked: Asked) -> list[_Known | None]:
    """What a target has learned of each concept; where a run lacks some and --subject is not given, that is said."""
    own = _known(target)
    found = _counterparts(own, known)
    lacking = [each.name for each, one in zip(known, found, strict=True) if one is None]
    if own and lacking and asked.subject is None:
        logger.warning(
            "%s: learned %s, and nothing called %s, for which it is asked by its class alone, as the base is. What is "
            "learned is called like the folder of its pictures.",
            target.name,
            ", ".join(each.name for each in own),
            ", ".join(lacking),
        )
    return found


def _trigger(targets: Sequence[Target]) -> str:
    for target in targets:
        own = target.config.data.trigger if target.config is not None else None
        if trigger := own or target.trigger:
            return trigger
    return ""


def _noun(known: _Known, phrase: str, suite: SuiteConfig, asked: Asked, lists: Lists | None) -> str:
    listed = lists.classes.get(known.name) if lists is not None else None
    noun = asked.noun or listed or known.noun or noun_of(phrase) or suite.noun
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
