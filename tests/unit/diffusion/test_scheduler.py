"""Scheduler configs become diffusers' own tables, bit for bit, or a refusal that names the key."""

import pytest
import torch
from diffusers import DDPMScheduler, EDMEulerScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler

from maquette.diffusion import affine
from maquette.diffusion.level import Level
from maquette.diffusion.scheduler import DISCRETE, alphas_cumprod, read_scheduler
from maquette.errors import ModelError

U = torch.tensor([0.0, 0.3, 0.7, 0.9999])

TABLES = {
    "linear": {"beta_schedule": "linear"},
    "stable diffusion": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "short": {"beta_schedule": "linear", "num_train_timesteps": 50},
    "given": {"trained_betas": [0.1, 0.2, 0.3], "num_train_timesteps": 3},
    "linear, zero terminal": {"beta_schedule": "linear", "rescale_betas_zero_snr": True},
    "stable diffusion, zero terminal": {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "rescale_betas_zero_snr": True,
    },
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_those_of_diffusers_bit_for_bit(name):
    assert torch.equal(alphas_cumprod(TABLES[name]), DDPMScheduler(**TABLES[name]).alphas_cumprod)


def test_zero_terminal_tables_keep_their_first_entry_and_end_at_zero():
    plain = alphas_cumprod(TABLES["stable diffusion"])
    rescaled = alphas_cumprod(TABLES["stable diffusion, zero terminal"])
    assert rescaled[-1] == 0
    assert rescaled[0].item() == pytest.approx(plain[0].item(), rel=1e-6)
    assert (rescaled.diff() < 0).all()


@pytest.mark.parametrize("class_name", sorted(DISCRETE))
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_every_sampler_of_a_discrete_checkpoint_says_the_same_of_its_training(class_name, prediction):
    config = {"_class_name": class_name, "prediction_type": prediction, **TABLES["stable diffusion"]}
    diffusion = read_scheduler(config)
    assert torch.equal(
        diffusion.path(U).alpha.square(),
        DDPMScheduler(**TABLES["stable diffusion"]).alphas_cumprod[(U * 1000).long()].sqrt().square(),
    )
    expected = {"epsilon": affine.epsilon, "v_prediction": affine.velocity, "sample": affine.sample}[prediction]
    assert diffusion.parametrization is expected


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
def test_edm_checkpoints_are_preconditioned_as_diffusers_does_it(prediction, sigma_data):
    scheduler = EDMEulerScheduler(sigma_data=sigma_data, prediction_type=prediction)
    diffusion = read_scheduler({"_class_name": "EDMEulerScheduler", **scheduler.config})
    level = diffusion.path(U)
    a = diffusion.parametrization(level)
    x, output = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    sigma = level.sigma.reshape(-1, 1, 1, 1)
    torch.testing.assert_close(a.denoised(x, output), scheduler.precondition_outputs(x, output, sigma))
    scaled = a.c_in.reshape(-1, 1, 1, 1) * x
    torch.testing.assert_close(scaled, scheduler.precondition_inputs(x, sigma))
    torch.testing.assert_close(level.t, torch.stack([scheduler.precondition_noise(s) for s in level.sigma]))


def test_flow_checkpoints_keep_their_shift():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    diffusion = read_scheduler({"_class_name": "FlowMatchEulerDiscreteScheduler", **scheduler.config})
    level = diffusion.path(torch.linspace(0.01, 0.99, 50))
    assert diffusion.parametrization is affine.flow
    x0, eps = torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(0))
    # diffusers noises by its own shifted table; ask it for levels that are in that table.
    entries = scheduler.timesteps[100:900:16]
    sigma = entries / 1000
    theirs = scheduler.scale_noise(x0, entries, eps)
    torch.testing.assert_close(Level(entries, 1 - sigma, sigma).noised(x0, eps), theirs)
    torch.testing.assert_close(
        level.sigma, 3 * torch.linspace(0.01, 0.99, 50) / (1 + 2 * torch.linspace(0.01, 0.99, 50))
    )


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_noise_and_targets_equal_diffusers(prediction):
    scheduler = DDPMScheduler(prediction_type=prediction, **TABLES["stable diffusion"])
    diffusion = read_scheduler({"_class_name": "DDPMScheduler", **scheduler.config})
    x0, eps = torch.randn(2, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    level = diffusion.path(U)
    t = level.t.long()
    # In fp32 the two sides round the same products in another order.
    torch.testing.assert_close(level.noised(x0, eps), scheduler.add_noise(x0, eps, t), rtol=1e-6, atol=1e-6)
    expected = {"epsilon": eps, "v_prediction": scheduler.get_velocity(x0, eps, t), "sample": x0}[prediction]
    torch.testing.assert_close(diffusion.parametrization(level).target(x0, eps), expected, rtol=1e-6, atol=1e-6)


def test_a_variance_exploding_sampler_sees_the_same_noise():
    """x / sqrt(sigma^2 + 1) is what the network sees of a variance-preserving checkpoint in sigma space."""
    euler = EulerDiscreteScheduler(**TABLES["stable diffusion"])
    x0, eps = torch.randn(2, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    level = read_scheduler({"_class_name": "EulerDiscreteScheduler", **euler.config}).path(U)
    assert euler.sigmas[0].item() == pytest.approx(14.6146, abs=5e-5)
    sigma = level.snr.rsqrt().reshape(-1, 1, 1, 1)
    seen = (x0 + sigma * eps) / (sigma.square() + 1).sqrt()
    torch.testing.assert_close(seen, level.noised(x0, eps), rtol=0, atol=1e-6)  # fp32: values up to 4, ulp 4e-7


REFUSED = {
    "class": ({"_class_name": "ScoreSdeVeScheduler"}, "_class_name is 'ScoreSdeVeScheduler'"),
    "prediction": ({"_class_name": "DDIMScheduler", "prediction_type": "v-pred"}, "prediction_type is 'v-pred'"),
    "flow": ({"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction"}, "flow_prediction"),
    "flow sigmas": ({"_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": True}, "flow_prediction"),
    "edm": ({"_class_name": "EDMEulerScheduler", "prediction_type": "sample"}, "prediction_type is 'sample'"),
    "betas": ({"beta_schedule": "sigmoid"}, "beta_schedule is 'sigmoid'"),
    "number": ({"beta_start": "0.1"}, "beta_start is '0.1'; it must be a number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_known_is_refused_by_file_key_and_value(case):
    config, message = REFUSED[case]
    with pytest.raises(ModelError) as caught:
        read_scheduler(config, where="base/scheduler/scheduler_config.json")
    assert str(caught.value).startswith("base/scheduler/scheduler_config.json: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("config", "known"),
    [
        ({"_class_name": "X"}, ["DDPMScheduler", "EulerDiscreteScheduler", "FlowMatch*Scheduler"]),
        ({"prediction_type": "x"}, ["epsilon", "v_prediction", "sample"]),
        ({"beta_schedule": "x"}, ["linear", "scaled_linear", "squaredcos_cap_v2"]),
    ],
)
def test_a_refusal_says_what_is_known(config, known):
    with pytest.raises(ModelError) as caught:
        read_scheduler(config)
    assert all(name in str(caught.value) for name in known)
