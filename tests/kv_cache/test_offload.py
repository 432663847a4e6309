"""The same tokens wherever segments lie, bytes as the formula says, and loads that hide behind computing."""

from time import perf_counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.kv_cache import offload
from reference_impls.kv_cache.offload import Config, bytes_per_pass, place_layers
from tests.kv_cache.models import MODEL, MORE, PROMPT, expected, run, shape


@pytest.mark.parametrize("shares", [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.34, 0.34)], ids=str)
@pytest.mark.parametrize("ahead", [True, False])
def test_no_value_changes_wherever_it_lies(shares, ahead):
    cache = offload.new_cache(shape(), Config(*shares, group_size=8, ahead=ahead, page_cache=not ahead))
    assert torch.allclose(run(cache), expected(), atol=1e-10)


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.34, 0.34)], ids=str)
def test_bytes_moved_are_those_of_the_formula(shares, ahead):
    config = Config(*shares, group_size=8, ahead=ahead)
    cache = offload.new_cache(shape(), config)
    MODEL(PROMPT, cache)
    log, away = cache.place.log, sum(tier != "device" for tier in cache.place.tiers)
    assert (log.bytes_in, log.bytes_out) == (0, 40 * 2 * shape().bytes_per_token * away // 3)
    for passes in range(1, 5):
        MODEL(MORE[:, :1], cache)
        assert log.bytes_in == passes * bytes_per_pass(shape(), config, segments=5)
    assert cache.place.nbytes_away == log.bytes_out
    assert cache.place.nbytes == (3 - away) * log.bytes_out // away  # what stays is the rest


def test_disk_and_host_survive_a_crop():
    for shares in ((1.0, 0.0), (0.0, 1.0)):
        cache = offload.new_cache(shape(), Config(*shares, group_size=8))
        MODEL(PROMPT, cache)
        cache.crop(13)
        after = MODEL(MORE, cache)
        whole = MODEL(torch.cat([PROMPT[:, :13], MORE], 1))[:, 13:]
        assert torch.allclose(after, whole, atol=1e-10)


@given(st.integers(1, 40), st.floats(0, 1), st.floats(0, 1))
def test_layers_are_placed_by_their_shares_and_spread(layers, host, rest):
    disk = (1 - host) * rest
    places = place_layers(layers, Config(host, disk))
    assert len(places) == layers
    assert abs(places.count("host") - layers * host) <= 0.5
    assert abs(places.count("disk") - layers * disk) <= 1


def test_layers_that_go_alternate_with_those_that_stay():
    assert place_layers(6, Config(0.5)) == ["device", "host", "device", "host", "device", "host"]
    assert place_layers(4, Config(0.25, 0.25)).count("device") == 2


@pytest.mark.parametrize("ahead", [True, False])
def test_the_next_layer_is_fetched_while_one_computes(ahead, monkeypatch):
    """Which fetches have begun when a layer's attention runs; the next pass's first hides behind the last."""
    cache = offload.new_cache(shape(), Config(group_size=8, ahead=ahead))
    MODEL(PROMPT, cache)
    begun, seen = [], {}
    fetch = cache.place._fetch
    monkeypatch.setattr(cache.place, "_fetch", lambda layer, asked: (begun.append(layer), fetch(layer, asked))[1])
    for block in MODEL.blocks:
        attention = block.attention

        def attend(*arguments, own=attention.attend, layer=attention.layer):
            if coming := cache.place._coming.get((layer + 1) % 3):
                coming.result()  # it can finish meanwhile
            seen[layer] = [*begun]
            return own(*arguments)

        monkeypatch.setattr(attention, "attend", attend)
    MODEL(MORE[:, :1], cache)
    assert seen == ({0: [0, 1], 1: [0, 1, 2], 2: [0, 1, 2, 0]} if ahead else {0: [0], 1: [0, 1], 2: [0, 1, 2]})
    MODEL(MORE[:, 1:2], cache)
    assert begun == ([0, 1, 2, 0, 1, 2, 0] if ahead else [0, 1, 2] * 2)


def test_a_stated_rate_is_not_exceeded():
    segment = 40 * 2 * shape().bytes_per_token / 3
    cache = offload.new_cache(shape(), Config(group_size=8, ahead=False, bytes_per_s=segment / 0.01))
    MODEL(PROMPT, cache)
    start = perf_counter()
    MODEL(MORE[:, :1], cache)
    assert perf_counter() - start >= 3 * 0.01
    assert cache.place.log.wait_s > 0


def test_a_link_that_is_asked_ahead_is_never_idle_while_there_is_something_to_wait_for():
    """Passes take what the link takes, though the computing thread and the reader's wake up late."""
    segment, passes = 40 * 2 * shape().bytes_per_token / 3, 3
    cache = offload.new_cache(shape(), Config(group_size=8, bytes_per_s=segment / 0.02))
    MODEL(PROMPT, cache)
    start = perf_counter()
    for _ in range(passes):
        MODEL(MORE[:, :1], cache)
        cache.crop(40)
    took = perf_counter() - start
    assert 0.99 * passes * 3 * 0.02 <= took < 4 * passes * 3 * 0.02


def test_what_is_forgotten_is_fetched_anew(monkeypatch):
    cache = offload.new_cache(shape(), Config(group_size=8))
    MODEL(PROMPT, cache)
    begun, fetch = [], cache.place._fetch
    monkeypatch.setattr(cache.place, "_fetch", lambda layer, asked: (begun.append(layer), fetch(layer, asked))[1])
    MODEL(MORE[:, :1], cache)
    cache.crop(40)
    cache.place.forget_ahead()
    again = MODEL(MORE[:, :1], cache)
    cache.place.forget_ahead()
    assert begun == [0, 1, 2, 0] * 2
    assert torch.allclose(again, MODEL(torch.cat([PROMPT, MORE[:, :1]], 1))[:, 40:], atol=1e-10)


@pytest.mark.parametrize("share", [1 / 3, 1.0])
def test_what_was_fetched_for_the_next_pass_is_dropped_where_more_was_sealed_or_cut(share):
    """Passes that seal a segment or follow a crop into one: stale fetches must not be used."""
    cache = offload.new_cache(shape(), Config(share, group_size=4))
    MODEL(PROMPT[:, :30], cache)
    states = [MODEL(PROMPT[:, at : at + 1], cache) for at in range(30, 40)]
    assert torch.allclose(torch.cat(states, 1), MODEL(PROMPT)[:, 30:], atol=1e-10)
    cache.crop(21)
    again = torch.cat([MODEL(PROMPT[:, at : at + 1], cache) for at in range(21, 40)], 1)
    assert torch.allclose(again, MODEL(PROMPT)[:, 21:], atol=1e-10)


def test_misuse_is_refused():
    for wrong in (lambda: Config(0.6, 0.6), lambda: Config(-0.1), lambda: Config(bytes_per_s=0.0)):
        with pytest.raises(ValueError, match="must be"):
            wrong()
    with pytest.raises(ValueError, match="group_size must be"):
        Config(group_size=0)
