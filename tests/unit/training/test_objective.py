"""The denoising loss against diffusers and by hand: targets, weights, halves, masks, precision."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import torch
from diffusers import DDPMScheduler, EDMEulerScheduler, EulerDiscreteScheduler
from torch import Tensor, nn

from maquette.diffusion import affine, weighting
from maquette.diffusion.level import ddpm_path, edm_path, karras, lognormal
from maquette.diffusion.scheduler import Diffusion, alphas_cumprod, read_scheduler
from maquette.errors import ConfigError
from maquette.training.objective import denoising, mean_error, stratified
from maquette.training.seeds import rng_at
from maquette.types import ImageCode, TrainBatch

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@dataclass
class Toy:
    """A convolution in place of a denoiser; it notes what it was given."""

    diffusion: Diffusion
    denoiser: nn.Conv2d = field(default_factory=lambda: seeded_conv())
    given: list[tuple[Tensor, Tensor, Mapping[str, Tensor]]] = field(default_factory=list)

    def embed_text(self, tokens: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {name: 2 * ids.float() for name, ids in tokens.items()}

    def predict(self, x: Tensor, t: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        self.given.append((x, t, cond))
        return self.denoiser(x) * (1 + t / 1000).reshape(-1, 1, 1, 1)


def seeded_conv() -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)


def batch(n: int = 4, *, mask: Tensor | None = None, weight: Tensor | None = None) -> TrainBatch:
    mean = torch.randn(n, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    code = ImageCode(mean, None, {})
    return TrainBatch(code, {}, torch.full((n,), 1 / n) if weight is None else weight, torch.zeros(n).long(), mask)


def drawn(family: Toy, x0: Tensor, key: tuple[int, int] = (0, 0)) -> tuple[Tensor, Tensor]:
    """The noise levels and the noise of a call, drawn as the objective's documentation says."""
    rng = rng_at(*key)
    return stratified(len(x0), rng), torch.randn(x0.shape, generator=rng)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("gamma", [math.inf, 5.0])
def test_the_loss_is_the_one_of_diffusers_scripts_with_the_right_weights(prediction, gamma):
    scheduler = DDPMScheduler(prediction_type=prediction, **STABLE_DIFFUSION)
    family = Toy(read_scheduler({"_class_name": "DDPMScheduler", **scheduler.config}))
    one = batch()
    ours = denoising(family, weighting.uniform if gamma == math.inf else weighting.min_snr(gamma))(one, rng_at(0, 0))

    u, eps = drawn(family, one.code.mean)
    t = (u * 1000).long()
    noisy = scheduler.add_noise(one.code.mean, eps, t)
    target = {"epsilon": eps, "v_prediction": scheduler.get_velocity(one.code.mean, eps, t), "sample": one.code.mean}
    error = (family.predict(noisy, t, {}) - target[prediction]).square().mean((1, 2, 3))
    ratio = scheduler.alphas_cumprod[t] / (1 - scheduler.alphas_cumprod[t])
    capped = ratio.clamp(max=gamma)
    scale = {"epsilon": capped / ratio, "v_prediction": capped / (ratio + 1), "sample": capped}[prediction]
    torch.testing.assert_close(ours, error if gamma == math.inf else scale * error, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_under_edm_is_karras_with_diffusers_preconditioning(prediction):
    scheduler = EDMEulerScheduler(prediction_type=prediction)
    family = Toy(read_scheduler({"_class_name": "EDMEulerScheduler", **scheduler.config}))
    one = batch()
    ours = denoising(family, weighting.uniform)(one, rng_at(0, 0))
    u, eps = drawn(family, one.code.mean)
    sigma = edm_path()(u).sigma.reshape(-1, 1, 1, 1)
    noisy = one.code.mean + sigma * eps
    t = torch.stack([scheduler.precondition_noise(s) for s in sigma.flatten()])
    output = family.predict(scheduler.precondition_inputs(noisy, sigma), t, {})
    denoised = scheduler.precondition_outputs(noisy, output, sigma)
    lam = (sigma.square() + 0.25) / (0.5 * sigma).square()
    expected = (lam * (denoised - one.code.mean).square()).mean((1, 2, 3))
    # The clean-sample error cancels digits at small sigma, where lambda multiplies what is left.
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def in_double(scheduler: EulerDiscreteScheduler) -> Tensor:
    """The table of a scheduler's config in fp64: its own is rounded to fp32, which sigma space amplifies."""
    start, end = scheduler.config.beta_start**0.5, scheduler.config.beta_end**0.5
    return torch.cumprod(1 - torch.linspace(start, end, 1000, dtype=torch.float64).square(), 0)


@pytest.mark.parametrize(
    ("prediction", "mine"),
    [("epsilon", weighting.uniform), ("v_prediction", weighting.snr)],
)
def test_edm_style_training_of_a_table_of_betas_is_what_it_was_before(prediction, mine):
    """diffusers' --do_edm_style_training: noise sigma = sqrt(1 / SNR) on the clean sample, the input over
    sqrt(sigma^2 + 1), the clean sample's error over sigma^2. For epsilon that is the plain loss, for v it is SNR's.
    """
    scheduler = EulerDiscreteScheduler(prediction_type=prediction, **STABLE_DIFFUSION)
    table = in_double(scheduler)
    parametrization = {"epsilon": affine.epsilon, "v_prediction": affine.velocity}[prediction]
    family = Toy(Diffusion(ddpm_path(table), parametrization), seeded_conv().double())
    x0, eps = torch.randn(2, 6, 4, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    t = torch.tensor([0, 1, 100, 500, 900, 999])
    sigma = ((1 - table) / table).sqrt()[t].reshape(-1, 1, 1, 1)

    noisy = x0 + sigma * eps
    seen = noisy / (sigma.square() + 1).sqrt()
    output = family.predict(seen, t.double(), {})
    if prediction == "epsilon":
        denoised = noisy - sigma * output
    else:
        denoised = -sigma / (sigma.square() + 1).sqrt() * output + noisy / (sigma.square() + 1)
    theirs = (sigma.pow(-2) * (denoised - x0).square()).mean((1, 2, 3))

    level = family.diffusion.path((t + 0.5) / 1000)
    a = parametrization(level)
    torch.testing.assert_close(level.noised(x0, eps), seen, rtol=1e-12, atol=1e-12)
    ours = mine(level, a) * (family.predict(level.noised(x0, eps), level.t, {}) - a.target(x0, eps)).square().mean(
        (1, 2, 3)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("weight", "of_sample"),
    [
        (weighting.uniform_x0, lambda _: 1.0),
        (weighting.edm, lambda sigma: (sigma.square() + 0.25) / (0.5 * sigma).square()),
        (weighting.min_snr(5.0), lambda sigma: ((sigma.square() + 0.25) / (0.5 * sigma).square()).clamp(max=5.0)),
        (weighting.soft_min_snr, lambda sigma: 1 / (sigma.square() + 0.25)),
    ],
    ids=["none", "edm", "min_snr", "soft"],
)
def test_a_step_of_an_edm_checkpoint_is_that_of_diffusers_example(weight, of_sample):
    """Its noise levels (uniform over the scheduler's table), network input, and weighted clean-sample error."""
    scheduler = EDMEulerScheduler()
    family = Toy(read_scheduler({"_class_name": "EDMEulerScheduler", **scheduler.config}), seeded_conv().double())
    levels = family.diffusion.path.drawn_by(karras(0.002, 80.0))
    x0, eps = torch.randn(2, 5, 4, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    indices = torch.tensor([0, 250, 500, 750, 999])
    level = levels(1 - indices.double() / 1000)
    a = family.diffusion.parametrization(level)

    sigmas = ((80.0 ** (1 / 7)) + indices.double() / 1000 * (0.002 ** (1 / 7) - 80.0 ** (1 / 7))) ** 7
    torch.testing.assert_close(sigmas.float(), scheduler.sigmas[indices], rtol=1e-6, atol=0)
    sigma = sigmas.reshape(-1, 1, 1, 1)
    noisy = x0 + sigma * eps
    seen = scheduler.precondition_inputs(noisy, sigma)
    torch.testing.assert_close(a.c_in.reshape(-1, 1, 1, 1) * level.noised(x0, eps), seen, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(level.t.float(), scheduler.timesteps[indices], rtol=1e-5, atol=1e-6)
    output = family.predict(seen, level.t, {})
    denoised = scheduler.precondition_outputs(noisy, output, sigma)
    theirs = (of_sample(sigma) * (denoised - x0).square()).mean((1, 2, 3))
    ours = weight(level, a) * (output - a.target(x0, eps)).square().mean((1, 2, 3))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_the_configured_levels_are_those_that_are_drawn():
    family = Toy(Diffusion(ddpm_path(alphas_cumprod(STABLE_DIFFUSION)), affine.epsilon))
    levels = family.diffusion.path.drawn_by(lognormal(-0.5, 1.0))
    one = batch()
    loss = denoising(family, weighting.edm, levels=levels)(one, rng_at(0, 0))
    u, eps = drawn(family, one.code.mean)
    level = levels(u)
    noisy, t, _ = family.given[0]
    torch.testing.assert_close(noisy, level.noised(one.code.mean, eps))
    assert torch.equal(t, level.t)
    error = (family.predict(noisy, t, {}) - eps).square().mean((1, 2, 3))
    torch.testing.assert_close(loss, (1 + 1 / level.snr) * error)


@pytest.mark.parametrize("weight", [weighting.uniform, weighting.min_snr(5.0)])
@pytest.mark.parametrize(
    "diffusion",
    [
        Diffusion(ddpm_path(alphas_cumprod(STABLE_DIFFUSION)), affine.epsilon),
        Diffusion(ddpm_path(alphas_cumprod(STABLE_DIFFUSION)), affine.velocity),
        Diffusion(edm_path(), affine.edm(0.5)),
    ],
    ids=["epsilon", "v", "edm"],
)
@pytest.mark.parametrize("n", [1, 2])
def test_prior_preservation_is_two_separate_means(diffusion, weight, n):
    """n pictures and n class pictures, lambda 0.7: every row weighed by its own level, each half by its own mean."""
    family = Toy(diffusion)
    weights = torch.cat([torch.full((n,), 1 / n), torch.full((n,), 0.7 / n)])
    one = batch(2 * n, weight=weights)
    losses = denoising(family, weight)(one, rng_at(0, 0))
    assert losses.shape == (2 * n,)
    u, eps = drawn(family, one.code.mean)
    level = diffusion.path(u)
    a = diffusion.parametrization(level)
    noisy = level.noised(one.code.mean, eps)
    output = family.predict(a.c_in.reshape(-1, 1, 1, 1) * noisy, level.t, {})
    rows = weight(level, a) * (output - a.target(one.code.mean, eps)).square().mean((1, 2, 3))
    instance, class_images = rows.chunk(2)
    torch.testing.assert_close((one.weight * losses).sum(), instance.mean() + 0.7 * class_images.mean())


def test_noise_offset_is_part_of_the_noise_and_of_the_target():
    plain = Toy(Diffusion(ddpm_path(alphas_cumprod(STABLE_DIFFUSION)), affine.epsilon))
    one = batch()
    rng = rng_at(0, 0)
    u, eps = stratified(4, rng), torch.randn(one.code.mean.shape, generator=rng)
    eps = eps + 0.3 * torch.randn(4, 4, 1, 1, generator=rng)
    ours = denoising(plain, weighting.uniform, noise_offset=0.3)(one, rng_at(0, 0))
    level = plain.diffusion.path(u)
    noisy = level.noised(one.code.mean, eps)
    torch.testing.assert_close(plain.given[0][0], noisy)
    torch.testing.assert_close(ours, (plain.predict(noisy, level.t, {}) - eps).square().mean((1, 2, 3)))


def test_the_encoders_noise_is_fresh_every_step():
    family = Toy(Diffusion(ddpm_path(alphas_cumprod(STABLE_DIFFUSION)), affine.sample))
    mean = torch.zeros(2, 4, 8, 8)
    one = TrainBatch(ImageCode(mean, torch.ones_like(mean), {}), {}, torch.ones(2), torch.zeros(2).long())
    draws = [one.code.draw(rng_at(0, step)) for step in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.cat(draws).std().item() == pytest.approx(1.0, abs=0.05)  # 1536 numbers: standard error 0.018
    loss = denoising(family, weighting.uniform)
    assert not torch.equal(loss(one, rng_at(0, 0)), loss(one, rng_at(0, 1)))


def test_cached_and_fresh_conditioning_reach_the_denoiser_together():
    family = Toy(Diffusion(ddpm_path(alphas_cumprod(STABLE_DIFFUSION)), affine.epsilon))
    plain = batch(2)
    code = ImageCode(plain.code.mean, None, {"time_ids": torch.ones(2, 6)})
    one = TrainBatch(code, {"context": torch.tensor([[1], [2]])}, plain.weight, plain.concept)
    denoising(family, weighting.uniform)(one, rng_at(0, 0))
    cond = family.given[0][2]
    assert cond.keys() == {"time_ids", "context"}
    assert cond["context"].tolist() == [[2], [4]]


def test_a_mask_leaves_out_what_it_covers_and_keeps_the_scale():
    error = torch.zeros(2, 4, 8, 8)
    error[:, :, :4] = 3.0
    error[:, :, 4:] = 100.0
    mask = torch.zeros(2, 1, 8, 8)
    mask[:, :, :4] = 1
    assert mean_error(error, mask).tolist() == [3.0, 3.0]
    assert mean_error(error, None).tolist() == [51.5, 51.5]
    small = torch.zeros(1, 1, 8, 8)
    small[..., 0, 0] = 1
    assert mean_error(error[:1], small).tolist() == [3.0]
    soft = torch.full((1, 1, 8, 8), 0.25)
    assert mean_error(error[:1], soft).tolist() == [51.5]


def test_a_mask_reaches_the_loss_in_its_own_row():
    family = Toy(Diffusion(ddpm_path(alphas_cumprod(STABLE_DIFFUSION)), affine.epsilon))
    mask = torch.ones(4, 1, 8, 8)
    mask[1, :, :, 4:] = 0
    plain, masked = (denoising(family, weighting.uniform)(batch(mask=m), rng_at(0, 0)) for m in (None, mask))
    assert [i for i in range(4) if plain[i] != masked[i]] == [1]


@pytest.mark.parametrize("n", [1, 2, 5, 64])
def test_stratified_draws_take_one_from_every_slice(n):
    u = stratified(n, rng_at(0, 3))
    assert sorted((u * n).long().tolist()) == list(range(n))
    assert ((u >= 0) & (u < 1)).all()


def test_each_stratified_draw_alone_is_uniform():
    """Of rows 0 of many batches: a tenth in every tenth, so that no row always gets the same noise level."""
    first = torch.stack([stratified(4, rng_at(0, step))[0] for step in range(4000)])
    shares = torch.histc(first, 10, 0, 1) / 4000
    assert (shares - 0.1).abs().max() < 0.02  # four standard errors of a share are 0.019


def test_levels_and_the_loss_stay_in_full_precision_under_autocast():
    """sigma and the weights of EDM span five decades; bf16 has three digits."""
    family = Toy(Diffusion(edm_path(), affine.edm(0.5)))
    loss = denoising(family, weighting.min_snr(5.0))
    plain = loss(batch(), rng_at(0, 0))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss(batch(), rng_at(0, 0))
    assert mixed.dtype == torch.float32
    for (x, t, _), (y, s, _) in [family.given]:
        assert x.dtype == y.dtype == t.dtype == s.dtype == torch.float32
        assert torch.equal(x, y)
        assert torch.equal(t, s)
    torch.testing.assert_close(mixed, plain, rtol=0.02, atol=0)  # only the convolution was rounded to bf16


def test_half_precision_codes_are_noised_in_full_precision():
    family = Toy(Diffusion(ddpm_path(alphas_cumprod(STABLE_DIFFUSION)), affine.epsilon))
    plain = batch()
    one = TrainBatch(ImageCode(plain.code.mean.half(), None, {}), {}, plain.weight, plain.concept)
    assert denoising(family, weighting.uniform)(one, rng_at(0, 0)).dtype == torch.float32
    assert family.given[0][0].dtype == torch.float32


@pytest.mark.parametrize("weight", [weighting.debiased, weighting.uniform_x0, weighting.edm])
def test_a_weight_without_a_limit_is_refused_before_the_first_step(weight):
    table = alphas_cumprod({**STABLE_DIFFUSION, "rescale_betas_zero_snr": True})
    with pytest.raises(ConfigError, match=r"loss\.weighting is not finite .* at SNR .*, 0\."):
        denoising(Toy(Diffusion(ddpm_path(table), affine.epsilon)), weight)
    denoising(Toy(Diffusion(ddpm_path(table), affine.velocity)), weight)


@pytest.mark.parametrize("weight", [weighting.uniform, weighting.min_snr(5.0), weighting.soft_min_snr, weighting.snr])
@pytest.mark.parametrize("parametrization", [affine.epsilon, affine.velocity, affine.sample])
def test_the_loss_is_finite_at_zero_terminal_snr(weight, parametrization):
    table = alphas_cumprod({**STABLE_DIFFUSION, "rescale_betas_zero_snr": True})
    family = Toy(Diffusion(ddpm_path(table[-1:]), parametrization))
    assert denoising(family, weight)(batch(), rng_at(0, 0)).isfinite().all()
