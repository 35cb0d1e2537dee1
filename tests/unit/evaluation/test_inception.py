"""Golden numbers are those of torch-fidelity 0.4's network with the same weights and prepared pixels."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.unit.evaluation.nets import noise, random_weights

from maquette.errors import ModelError
from maquette.evaluation.batches import Place
from maquette.evaluation.inception import Inception, open_inception
from maquette.evaluation.sources import Source

CPU = Place(torch.device("cpu"))

# By width: mean, deviation, the first four.
GOLDEN = {
    64: [0.431361, 0.358512, 0.46366, 0.34386, 0.26998, 0.12334],
    192: [0.465201, 0.595747, 0.07452, 1.96102, 0.76728, 0.3624],
    768: [0.237056, 0.337868, 0.81393, 0.0, 0.00018, 0.00207],
    2048: [0.220622, 0.304021, 0.88427, 0.0, 0.05669, 0.17174],
}


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return random_weights(Inception().state_dict())


def test_every_width_is_as_in_torch_fidelity(weights: dict[str, torch.Tensor], tmp_path: Path):
    file = tmp_path / "inception.safetensors"
    # The published file also has the classes, and later conversions count batches.
    more = {"fc.weight": torch.ones(1008, 2048), "fc.bias": torch.ones(1008)}
    more["Conv2d_1a_3x3.bn.num_batches_tracked"] = torch.tensor(0)
    save_file(weights | more, file)
    networks = open_inception(Source(file, "inception.safetensors"), CPU)
    assert list(networks) == [64, 192, 768, 2048]
    for width, (mean, deviation, *first) in GOLDEN.items():
        features = networks[width].features(noise((120, 90)))
        assert features.shape == (1, width)
        # fp32 kernels differ between machines; each number went through up to 94 layers.
        torch.testing.assert_close(features[0, :4], torch.tensor(first), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(features.mean(), torch.tensor(mean), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(features.std(), torch.tensor(deviation), rtol=1e-4, atol=1e-4)
    assert len({network.fingerprint for network in networks.values()}) == 4
    assert networks[64].name == "Inception 64 (inception.safetensors)"


def test_what_is_not_this_network_is_refused(weights: dict[str, torch.Tensor], tmp_path: Path):
    file = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.ones(1)}, file)
    with pytest.raises(ModelError, match="is not FID's Inception"):
        open_inception(Source(file, "other"), CPU)
    save_file({name: tensor for name, tensor in weights.items() if "6c" not in name}, file)
    with pytest.raises(ModelError, match=r"lacks .* tensors"):
        open_inception(Source(file, "other"), CPU)
