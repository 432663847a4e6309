"""On the trained pair: a few steps bring the draft closer to the target, on text that was not trained on too."""

import pytest
import torch

from reference_impls.distillation.logit import Config, loss, train_step
from tests.quantization.cases import seeded

tiny = pytest.importorskip("reference_impls.models.tiny", reason="this package has no trained model")
pytest.importorskip("tokenizers", reason="tokenizers is not installed")
if not (tiny.FOLDER / "target.safetensors").is_file():
    pytest.skip("the tiny trained model is not there: see scripts/train_tiny.py", allow_module_level=True)


@pytest.fixture(scope="module")
def tokens():
    return tiny.heldout_tokens(16 * 64 + 512)


@pytest.mark.parametrize("config", [Config(), Config("reverse_kl"), Config("jsd", on_policy=0.5)], ids=str)
def test_a_few_steps_bring_the_draft_closer_to_the_target(tokens, config):
    teacher = tiny.load_target().eval().requires_grad_(False)
    student = tiny.load_draft()
    unseen, batches = tokens[None, -512:], tokens[:-512].view(4, 4, 64)
    measure = Config(config.divergence)

    @torch.no_grad()
    def distance():
        return float(loss(student(unseen), teacher(unseen), measure))

    before = distance()
    optimizer, generator = torch.optim.AdamW(student.parameters(), lr=3e-4), seeded()
    for batch in batches.repeat(4, 1, 1):
        train_step(student, teacher, batch, optimizer, config, generator)
    assert distance() < 0.97 * before
