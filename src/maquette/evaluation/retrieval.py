"""Whether a picture finds its own prompt among others (CLIP-R). Axes: n pictures, t prompts."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from maquette.evaluation.metric import EvalSet, Metric, Score
from maquette.evaluation.networks import Networks
from maquette.evaluation.scoring import by_concept, features_of, rows_by_concept

TRIVIAL = "{fewest} candidates: a prompt is always among the {k} nearest of so few. Add candidates, other prompts."

ALIKE = 1e-6
"""Cosines that differ by less are a tie: a text network reads prompts alike that differ in words it does not know."""


def found_at(
    k: int,
    cosines: Float[Tensor, "n t"],
    own: Int[Tensor, " n"],
    candidates: Bool[Tensor, "n t"],
) -> Float[Tensor, " n"]:
    """Whether each picture's own prompt is among the k nearest of its candidates, its own among them.

    Of prompts that tie with it, any may come first: the chance that it is among the k counts, so that a network to
    which all prompts look alike scores no better than a guess. Source: Park et al. 2021 (CLIP R-precision, Benchmark
    for Compositional Text-to-Image Synthesis).
    """
    mine = cosines.gather(1, own[:, None])
    ahead = ((cosines > mine + ALIKE) & candidates).sum(1)
    tied = (((cosines - mine).abs() <= ALIKE) & candidates).sum(1)  # the own prompt is one of them
    return ((k - ahead) / tied).clamp(0, 1).to(cosines.dtype)


def retrieval(networks: Networks, k: int) -> Metric:
    """Higher, 0 to 1: the share of pictures whose own prompt is among the k nearest of all candidates.

    The candidates are ``EvalSet.candidates`` and the picture's own prompt, or all prompts of the set where there are no
    others; compared without case. With k candidates or fewer the score is 1 whatever is drawn, and says so.
    """

    def score(pictures: EvalSet) -> Score:
        count = sum(map(len, rows_by_concept(pictures).values()))
        others = {_plain(prompt) for prompt in pictures.candidates}
        prompts = [_plain(prompt) for prompt in pictures.prompts]
        texts = list(dict.fromkeys([*map(_plain, pictures.candidates), *prompts]))
        own = torch.tensor([texts.index(prompt) for prompt in prompts])
        candidates = torch.tensor([not others or text in others for text in texts]).repeat(count, 1)
        candidates[torch.arange(count), own] = True
        shown, asked = features_of(networks.image, pictures.generated), features_of(networks.text, texts)
        found = found_at(k, shown @ asked.T, own, candidates).tolist()
        fewest = int(candidates.sum(1).min())
        warnings = (TRIVIAL.format(k=k, fewest=fewest),) if fewest <= k else ()
        return by_concept(f"retrieval_{k}", networks.image.name, "higher", found, {"all": range(count)}, warnings)

    return score


def _plain(prompt: str) -> str:
    return " ".join(prompt.lower().split())
