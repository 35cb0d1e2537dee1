"""Reads what a checkpoint's scheduler config says of its training, or refuses it clearly."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.diffusion.affine import Parametrization, edm, epsilon, flow, sample, velocity
from maquette.diffusion.level import NoisePath, ddpm_path, edm_path, flow_path
from maquette.errors import ModelError

DISCRETE = frozenset(
    f"{name}Scheduler"
    for name in (
        *("DDPM", "DDIM", "PNDM", "LMSDiscrete", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete"),
        *("KDPM2Discrete", "KDPM2AncestralDiscrete", "DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep"),
        *("UniPCMultistep", "LCM", "TCD", "UnCLIP"),
    )
)
"""Samplers of checkpoints trained on a table of betas: they describe the same training, so any of them may be saved."""

PREDICTION = {"epsilon": epsilon, "v_prediction": velocity, "sample": sample}


@dataclass(frozen=True, slots=True)
class Diffusion:
    """How a checkpoint was noised and what its network predicts; a fact of the checkpoint, not of the architecture."""

    path: NoisePath
    parametrization: Parametrization


def read_scheduler(config: Mapping[str, object], where: str = "scheduler_config.json") -> Diffusion:
    """The noise path and parametrisation that a diffusers scheduler config describes.

    where: the file's name, for messages. Raises ModelError, naming the key, for anything it does not know.
    """
    name = str(config.get("_class_name", "DDPMScheduler"))
    prediction = str(config.get("prediction_type", "epsilon"))
    if name.startswith("EDM"):
        if prediction not in ("epsilon", "v_prediction"):
            raise _refused(where, "prediction_type", prediction, ("epsilon", "v_prediction"))
        sigma_data = _number(config, "sigma_data", 0.5, where)
        low, high = _number(config, "sigma_min", 0.002, where), _number(config, "sigma_max", 80.0, where)
        path = edm_path(sigma_min=low, sigma_max=high)
        return Diffusion(path, edm(sigma_data, negated=prediction == "v_prediction"))
    if name.startswith("FlowMatch"):
        steps, shift = _number(config, "num_train_timesteps", 1000, where), _number(config, "shift", 1.0, where)
        return Diffusion(flow_path(int(steps), shift), flow)
    if name not in DISCRETE:
        raise _refused(where, "_class_name", name, (*sorted(DISCRETE), "EDM*Scheduler", "FlowMatch*Scheduler"))
    if prediction == "flow_prediction" or config.get("use_flow_sigmas"):
        raise _refused(where, "prediction_type", "flow_prediction", tuple(PREDICTION))
    if prediction not in PREDICTION:
        raise _refused(where, "prediction_type", prediction, tuple(PREDICTION))
    if name == "UnCLIPScheduler":  # which knows one schedule and does not always say so
        config = {"beta_schedule": "squaredcos_cap_v2", **config}
    return Diffusion(ddpm_path(alphas_cumprod(config, where)), PREDICTION[prediction])


def alphas_cumprod(
    config: Mapping[str, object], where: str = "scheduler_config.json"
) -> Float[Tensor, " num_train_timesteps"]:
    """The fp32 table of cumulative alphas, bit for bit the one that diffusers' DDPMScheduler builds from this config.

    Source: Ho et al. 2020 (arXiv 2006.11239); cosine: Nichol & Dhariwal 2021 (arXiv 2102.09672), equation 17; zero
    terminal SNR: Lin et al. 2023 (arXiv 2305.08891), algorithm 1.
    """
    steps = int(_number(config, "num_train_timesteps", 1000, where))
    start, end = _number(config, "beta_start", 0.0001, where), _number(config, "beta_end", 0.02, where)
    schedule, trained = str(config.get("beta_schedule", "linear")), config.get("trained_betas")
    if trained is not None:
        betas = torch.tensor(cast(Sequence[float], trained), dtype=torch.float32)
    elif schedule == "linear":
        betas = torch.linspace(start, end, steps, dtype=torch.float32)
    elif schedule == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float32) ** 2
    elif schedule == "squaredcos_cap_v2":
        betas = torch.tensor([_cosine_beta(i, steps) for i in range(steps)], dtype=torch.float32)
    else:
        raise _refused(where, "beta_schedule", schedule, ("linear", "scaled_linear", "squaredcos_cap_v2"))
    if config.get("rescale_betas_zero_snr"):
        betas = _zero_terminal_snr(betas)
    return torch.cumprod(1.0 - betas, dim=0)


def _cosine_beta(i: int, steps: int) -> float:
    def alpha_bar(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    return min(1 - alpha_bar((i + 1) / steps) / alpha_bar(i / steps), 0.999)


def _zero_terminal_snr(betas: Float[Tensor, " steps"]) -> Float[Tensor, " steps"]:
    root = torch.cumprod(1.0 - betas, dim=0).sqrt()
    first, last = root[0].clone(), root[-1].clone()
    alpha_bar = ((root - last) * (first / (first - last))).square()
    return 1 - torch.cat([alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]])


def _number(config: Mapping[str, object], key: str, default: float, where: str) -> float:
    value = config.get(key, default)
    if not isinstance(value, int | float):
        raise ModelError(f"{where}: {key} is {value!r}; it must be a number.")
    return float(value)


def _refused(where: str, key: str, value: str, known: Sequence[str]) -> ModelError:
    return ModelError(
        f"{where}: {key} is {value!r}, a kind of training that maquette does not know. Known: {', '.join(known)}. "
        "If the checkpoint was trained like one of these, correct the file."
    )
