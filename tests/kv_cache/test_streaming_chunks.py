"""Many tokens a pass give what the cache gives token by token; a wrong distance or band does not."""

import pytest
import torch

from reference_impls.kv_cache import evict, shape_of, streaming_llm
from reference_impls.kv_cache.evaluate import losses_behind
from reference_impls.kv_cache.streaming_chunks import ChunkedStream, stream_losses
from tests.kv_cache.models import MODEL
from tests.models.conftest import seeded

TEXT = torch.randint(97, (70,), generator=seeded(5))


def token_by_token(config):
    return losses_behind(MODEL, evict.new_cache(shape_of(MODEL), streaming_llm, config), TEXT, 1)


@pytest.mark.parametrize(("budget", "sinks"), [(12, 0), (12, 4), (30, 4), (200, 4)])
def test_chunks_give_what_the_cache_gives_token_by_token(budget, sinks):
    config = streaming_llm.Config(budget, sinks)
    expected = token_by_token(config)
    for chunk in (7, 64):
        assert torch.allclose(stream_losses(MODEL, TEXT, config, chunk), expected, atol=1e-5)  # angles are float32


def test_a_stream_in_larger_passes_of_the_cache_is_another_one():
    """Control: within a pass the cache drops nothing, so its tokens see more than the budget."""
    config = streaming_llm.Config(12, 4)
    chunked = losses_behind(MODEL, evict.new_cache(shape_of(MODEL), streaming_llm, config), TEXT, 7)
    assert (chunked - token_by_token(config)).abs().max() > 1e-3


def test_sinks_make_a_difference_only_beyond_the_budget():
    with_sinks, without = (stream_losses(MODEL, TEXT, streaming_llm.Config(30, sinks)) for sinks in (4, 0))
    assert torch.equal(with_sinks[:30], without[:30])
    assert (with_sinks - without)[31:].abs().max() > 1e-3


def test_a_stream_may_be_longer_than_the_models_positions():
    text = torch.randint(97, (1000,), generator=seeded(6))
    assert MODEL.config.max_positions < len(text)
    assert stream_losses(MODEL, text, streaming_llm.Config(32)).isfinite().all()


def test_misuse_is_refused():
    cache = ChunkedStream(streaming_llm.Config(32), 10_000.0)
    with pytest.raises(ValueError, match="cropped"):
        cache.crop(0)
    with pytest.raises(ValueError, match="no mask"):
        cache.attend(*torch.zeros(3, 1, 1, 1, 8), mask=torch.ones(1, 1))
