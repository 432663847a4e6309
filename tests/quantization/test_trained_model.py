"""On weights that were trained and never quantized: losses keep the order that the papers claim."""

import pytest

from reference_impls.quantization import fp8, gptq, llm_int8, nf4, quarot, rtn, smoothquant, spqr
from reference_impls.quantization.apply import quantize_model
from reference_impls.quantization.calibration import Calibration

tiny = pytest.importorskip("reference_impls.models.tiny", reason="this package has no trained model")
pytest.importorskip("tokenizers", reason="tokenizers is not installed")
if not (tiny.FOLDER / "target.safetensors").is_file():
    pytest.skip("the tiny trained model is not there: see scripts/train_tiny.py", allow_module_level=True)

from reference_impls.models.perplexity import mean_loss  # noqa: E402

CONTEXT = 256
CALIBRATION, EVALUATION = 2048, 2048  # tokens, apart from each other


@pytest.fixture(scope="module")
def model():
    return tiny.load_target().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def tokens():
    return tiny.heldout_tokens(CALIBRATION + EVALUATION)


@pytest.fixture(scope="module")
def added_loss(model, tokens):
    """Nats per token that a method adds on text it was not calibrated on."""
    calibration = Calibration([tokens[:CALIBRATION].view(-1, CONTEXT)], sequential=True)
    unseen = tokens[CALIBRATION:]
    before = mean_loss(model, unseen, CONTEXT)

    def added(method, config, of=model):
        return mean_loss(quantize_model(of, method, config, calibration), unseen, CONTEXT) - before

    return added


@pytest.mark.parametrize(
    "method, config",
    [
        ("rtn", rtn.Config(8, None, symmetric=True)),
        ("llm_int8", llm_int8.Config()),
        ("smoothquant", smoothquant.Config()),
        ("fp8", fp8.Config()),
    ],
)
def test_eight_bits_are_nearly_free(added_loss, method, config):
    assert abs(added_loss(method, config)) < 0.01


def test_fewer_bits_cost_more(added_loss):
    losses = [added_loss("rtn", rtn.Config(bits, 64)) for bits in (2, 3, 4, 8)]
    assert losses == sorted(losses, reverse=True)


def test_gptq_recovers_much_of_what_rtn_loses(added_loss):
    assert added_loss("gptq", gptq.Config(2, 64)) < 0.7 * added_loss("rtn", rtn.Config(2, 64))


def test_outliers_apart_help_at_two_bits(added_loss):
    plain, apart = (spqr.Config(2, 32, outlier_share=share, scale_bits=None) for share in (0.0, 0.02))
    assert added_loss("spqr", apart) < added_loss("spqr", plain)


def test_nf4_is_not_above_the_uniform_grid_of_its_size(added_loss):
    assert added_loss("nf4", nf4.Config(64)) < 1.1 * added_loss("rtn", rtn.Config(4, 64, symmetric=True))


def test_rotated_activations_survive_four_bits_better(added_loss):
    rotated, plain = (quarot.Config(8, None, input_bits=4, rotate_inputs=turn) for turn in (True, False))
    assert added_loss("quarot", rotated) < added_loss("quarot", plain)
