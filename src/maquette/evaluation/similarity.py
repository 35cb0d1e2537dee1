"""Scores that are cosines of two unit vectors: whom a picture resembles, what it shows, how far the base has drifted.

Pure functions on features come first, then the metrics. Axes: n generated pictures, m references, d features.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import DataError
from maquette.evaluation.bootstrap import mean_interval, require_spread
from maquette.evaluation.judges import told_unknown
from maquette.evaluation.metric import EvalSet, Features, Metric, Score
from maquette.evaluation.networks import Named, Networks
from maquette.evaluation.scoring import (
    by_concept,
    class_images_of,
    equal_weights,
    features_of,
    references_of,
    rows_by_concept,
)


def mean_cosines(features: Float[Tensor, "n d"], references: Float[Tensor, "m d"]) -> Float[Tensor, " n"]:
    """The mean cosine of each row of unit vectors with all references."""
    return features @ references.mean(0)


def paired_cosines(features: Float[Tensor, "n d"], others: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """The cosine of each row of unit vectors with the same row of the others."""
    return (features * others).sum(1)


def subject_fidelity(networks: Networks) -> Metric:
    """Higher, -1 to 1: mean cosine of instance features of generated and real pictures of the same concept.

    With DINO ViT-S/16 this is the DINO score of Ruiz et al. 2022 (arXiv 2208.12242).
    """
    return lambda pictures: _to_references("subject_fidelity", networks.instance, pictures)


def image_similarity(networks: Networks) -> Metric:
    """Higher, -1 to 1: mean cosine of image features of generated and real pictures; CLIP-I where CLIP reads them.

    Source: Ruiz et al. 2022 (arXiv 2208.12242).
    """
    return lambda pictures: _to_references("image_similarity", networks.image, pictures)


def style_similarity(networks: Networks) -> Metric:
    """Higher, -1 to 1: mean cosine of style features of generated and real pictures of the same style.

    Shah et al. 2023 (ZipLoRA, arXiv 2311.13600) take CLIP image features for it; the score names its network.
    """
    return lambda pictures: _to_references("style_similarity", networks.style, pictures)


def prompt_fidelity(networks: Networks) -> Metric:
    """Higher, -1 to 1: mean cosine of the image features and the text features of the prompt; CLIP-T where CLIP reads.

    100 times this is torchmetrics' CLIP score, apart from its floor at 0. Source: Ruiz et al. 2022 (arXiv 2208.12242).
    """

    def score(pictures: EvalSet) -> Score:
        rows = rows_by_concept(pictures)
        shown = features_of(networks.image, pictures.generated)
        asked = features_of(networks.text, pictures.prompts)
        values = paired_cosines(shown, asked).tolist()
        warnings = told_unknown(networks.text.name, pictures.prompts)
        return by_concept("prompt_fidelity", networks.image.name, "higher", values, rows, warnings)

    return score


def preservation(networks: Networks) -> Metric:
    """Lower, -1 to 1: mean cosine of instance features of class pictures and the real pictures of a concept (PRES).

    High where the class has turned into the subject. Source: Ruiz et al. 2022 (arXiv 2208.12242).
    """

    def score(pictures: EvalSet) -> Score:
        class_images = class_images_of(pictures)
        references = references_of(class_images, pictures)
        parts = [
            mean_cosines(features_of(networks.instance, found), features_of(networks.instance, references[concept]))
            for concept, found in class_images.items()
        ]
        values = torch.cat(parts)
        return _of_other_pictures("preservation", networks.instance.name, values, [len(part) for part in parts])

    return score


def drift(networks: Networks) -> Metric:
    """Lower, 0 to 2: mean of 1 - cosine of image features of a neutral prompt's pictures with and without the adapter.

    Both pictures start from the same seed, so 0 means that prompts without the concept are drawn as before.
    """

    def score(pictures: EvalSet) -> Score:
        if not pictures.neutral or len(pictures.neutral) != len(pictures.neutral_base):
            raise DataError(
                f"{len(pictures.neutral)} neutral pictures with the adapter and {len(pictures.neutral_base)} without: "
                "drift compares them pair by pair. Generate prompts that name no concept twice, with the adapter and "
                "with the base alone, at the same seeds."
            )
        features = (features_of(networks.image, found) for found in (pictures.neutral, pictures.neutral_base))
        values = 1 - paired_cosines(*features)
        return _of_other_pictures("drift", networks.image.name, values, [len(values)])

    return score


def _to_references(name: str, network: Named[Features], pictures: EvalSet) -> Score:
    rows = rows_by_concept(pictures)
    references = references_of(rows, pictures)
    features = features_of(network, pictures.generated)
    values = torch.empty(len(features), dtype=torch.float64)
    for concept, of_concept in rows.items():
        values[of_concept] = mean_cosines(features[of_concept], features_of(network, references[concept]))
    return by_concept(name, network.name, "higher", values.tolist(), rows)


def _of_other_pictures(name: str, network: str, values: Float[Tensor, " n"], sizes: list[int]) -> Score:
    """A score of pictures that are not the generated ones of the set, so that it has no value for each of these."""
    require_spread(len(values))
    starts = torch.tensor([0, *sizes]).cumsum(0).tolist()
    weights = equal_weights([range(a, b) for a, b in pairwise(starts)])
    low, high = mean_interval(values, weights)
    return Score(name, float(values @ weights), low, high, "lower", len(values), network)
