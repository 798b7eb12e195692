"""A network in a folder: it comes back the same, and what does not belong together is refused."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import INPUT_SIZE, TINY, make_genome

from etm_jax.networks import compact, load_network, save_network

INPUTS = jnp.linspace(-1, 1, 2 * 4 * INPUT_SIZE).reshape(2, 4, INPUT_SIZE)


@pytest.fixture(params=["content", "content_and_location"])
def network(request):
    return compact(make_genome(TINY, seed=2, addressing=request.param), TINY)


def test_it_comes_back_with_the_same_outputs(network, tmp_path):
    save_network(network, tmp_path)
    loaded = load_network(tmp_path)
    assert loaded.architecture == network.architecture
    np.testing.assert_array_equal(loaded(INPUTS), network(INPUTS))


def test_the_files_need_neither_jax_nor_pickle(network, tmp_path):
    save_network(network, tmp_path)
    said = json.loads((tmp_path / "architecture.json").read_text())
    assert said == network.architecture | {"attention_width": 3, "sparse_links": 0}
    with np.load(tmp_path / "weights.npz", allow_pickle=False) as stored:
        assert stored["output.bias"].shape == (2,)


def test_an_architecture_of_another_network_is_refused(network, tmp_path):
    save_network(network, tmp_path)
    architecture = tmp_path / "architecture.json"
    architecture.write_text(json.dumps(json.loads(architecture.read_text()) | {"controller_size": 2}))
    with pytest.raises(ValueError, match="the two files come from different networks"):
        load_network(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "missing", "unknown gene"])
def test_damaged_files_are_refused(network, tmp_path, damage):
    save_network(network, tmp_path)
    weights = tmp_path / "weights.npz"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "missing":
        weights.unlink()
    else:
        (tmp_path / "architecture.json").write_text('{"slots": 3}')
    with pytest.raises(ValueError, match="holds no network that can be read"):
        load_network(tmp_path)
