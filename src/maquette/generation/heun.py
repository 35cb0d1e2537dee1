"""The EDM paper's own sampler as a diffusers scheduler: Heun's method of second order, with churn if asked for."""

import math

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from jaxtyping import Float
from torch import Generator, Tensor

from maquette.diffusion.affine import Affine, edm
from maquette.diffusion.level import edm_path, expand_as, karras


class EDMHeunScheduler(SchedulerMixin, ConfigMixin):
    """Heun steps between Karras levels; with churn, some noise is added again before each of them.

    n steps ask the network 2 n - 1 times: at both ends of each step, but only once in the last, which ends without
    noise. What churn adds before a step is added at the end of the step before, so that the network sees it.
    s_churn: the amount of noise over all steps, 0 for none. s_min, s_max: the levels at which it is added. s_noise: its
    deviation, a little above 1 to make up for detail that is lost. The other settings are those of EDMEulerScheduler.
    Source: Karras et al. 2022 (arXiv 2206.00364), algorithm 2.
    """

    order = 2

    @register_to_config
    def __init__(  # noqa: PLR0913 - the settings of a config file
        self,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        sigma_data: float = 0.5,
        prediction_type: str = "epsilon",
        rho: float = 7.0,
        s_churn: float = 0.0,
        s_min: float = 0.0,
        s_max: float = math.inf,
        s_noise: float = 1.0,
    ) -> None:
        self.karras, self.path = karras(sigma_min, sigma_max, rho), edm_path()
        self.parametrization = edm(sigma_data, negated=prediction_type == "v_prediction")
        self.churn, self.churned, self.spread = s_churn, (s_min, s_max), s_noise
        self.set_timesteps(2)

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Lay out the levels of a picture: of each step the noised start, then its end, and of the last its start."""
        self.ends = [*self.karras(torch.linspace(1, 0, num_inference_steps, dtype=torch.float64)).tolist(), 0.0]
        self.starts = [sigma * (1 + self._raise(sigma)) for sigma in self.ends[:-1]]
        self.levels = [level for step in zip(self.starts, self.ends[1:], strict=True) for level in step][:-1]
        self.timesteps = torch.tensor([math.log(level) / 4 for level in self.levels], device=device)
        self.asked = 0

    @property
    def init_noise_sigma(self) -> float:
        """Deviation of the first sample: the highest level, and the noise added there before the first step."""
        highest, noised = self.ends[0], self.starts[0]
        return math.sqrt(highest**2 + self.spread**2 * (noised**2 - highest**2))

    def scale_model_input(self, sample: Float[Tensor, "b *s"], timestep: Tensor | float) -> Float[Tensor, "b *s"]:
        """What the network sees of a sample: c_in times it, rounded to the sample's precision once."""
        del timestep
        x = _wide(sample)
        return (expand_as(self._affine(x).c_in, x) * x).to(sample.dtype)

    def step(
        self,
        model_output: Float[Tensor, "b *s"],
        timestep: Tensor | float,
        sample: Float[Tensor, "b *s"],
        generator: Generator | None = None,
        return_dict: bool = False,
    ) -> tuple[Float[Tensor, "b *s"]]:
        """Take the network's answer: a first try of the step, or its correction by the slope at its end."""
        del timestep, return_dict
        x = _wide(sample)
        slope = (x - self._affine(x).denoised(x, model_output.to(x.dtype))) / self.levels[self.asked]
        number, is_end = divmod(self.asked, 2)
        start, end = self.starts[number], self.ends[number + 1]
        if not is_end:
            self.start, self.slope = x, slope
            x = x + (end - start) * slope
        else:
            x = self.start + (end - start) * (self.slope + slope) / 2
            if (noised := self.starts[number + 1]) > end:
                noise = torch.randn(x.shape, dtype=x.dtype, generator=generator).to(x.device)
                x = x + self.spread * math.sqrt(noised**2 - end**2) * noise
        self.asked += 1
        return (x.to(sample.dtype),)

    def _affine(self, x: Float[Tensor, "b *s"]) -> Affine:
        level = torch.full((1,), self.levels[self.asked], dtype=torch.float64)
        return self.parametrization(self.path.at(level.to(x)))

    def _raise(self, sigma: float) -> float:
        """By how much the level is raised before a step, as a share of it."""
        low, high = self.churned
        return min(self.churn / (len(self.ends) - 1), math.sqrt(2) - 1) if low <= sigma <= high else 0.0


def _wide(sample: Float[Tensor, "b *s"]) -> Float[Tensor, "b *s"]:
    """In fp32 at least: a level read in bf16 is off by up to 0.4 %."""
    return sample.to(torch.promote_types(sample.dtype, torch.float32))
