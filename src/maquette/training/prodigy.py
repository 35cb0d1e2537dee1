"""Prodigy, for runs in which a group of parameters rests from some step on."""

from collections.abc import Callable
from math import sqrt
from typing import overload

import torch
from prodigyopt import Prodigy as PlainProdigy
from torch import Tensor


class Prodigy(PlainProdigy):
    """Prodigy whose step size takes a parameter without a gradient for one whose gradient is zero.

    The step size d comes of two sums over all parameters, <gradient, way from the start> and |s|, each of which forgets
    by beta3. prodigyopt leaves a parameter without a gradient out of the second at once, and forgets what it gave to
    the first as slowly as ever: when a group halts, d jumps by the group's share of the second sum, and d never falls.
    Here the group's |s| counts on and fades with the first sum, as if its gradient were zero; its weights, moments
    and s itself keep every bit. Source: Mishchenko and Defazio 2023 (arXiv 2306.06101), algorithm 4.
    """

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step, as prodigyopt's, with the step size found over all that has ever moved."""
        first = self.param_groups[0]
        d, d_max, steps = first["d"], first["d_max"], first["k"]
        loss = super().step(closure)
        resting = self._resting(first["k"])
        if not resting or first["k"] == steps:  # nothing had a gradient or a rate
            return loss
        d_hat = first["d_coef"] * first["d_numerator"] / (first["d_denom"] + float(sum(resting)))
        d_max = max(d_max, d_hat)
        d = min(d_max, (max(d, d_hat) if d == first["d0"] else d) * first["growth_rate"])
        for group in self.param_groups:
            group.update(d=d, d_max=d_max, d_hat=d_hat)
        return loss

    def _resting(self, steps: int) -> list[Tensor]:
        """The |s| of parameters that have learned and have no gradient now, faded by the steps since."""
        found = []
        for group in self.param_groups:
            beta3 = group["beta3"] or sqrt(group["betas"][1])
            states = [self.state[param] for param in group["params"] if param.grad is None and param in self.state]
            found += [state["s"].abs().sum() * beta3 ** (steps - state["step"]) for state in states]
        return found
