"""What is fetched is what was put, from either tier, and stays until the second fetch from then."""

import os
from io import BytesIO

import pytest
import torch

from reference_impls.kv_cache.tiers import Buffers, DiskPlace, HostPlace, fill

CPU = torch.device("cpu")
MAKE = {
    "host": lambda: HostPlace(CPU),
    "disk": lambda: DiskPlace(CPU),
    "disk-read-anew": lambda: DiskPlace(CPU, page_cache=False),
}


def parts(segments, seed):
    generator = torch.Generator().manual_seed(seed)
    wide = torch.randn(segments, 2, 3, 4, generator=generator)
    return wide, torch.randint(0, 256, (segments, 2, 5), generator=generator, dtype=torch.uint8)


def same(found, *expected):
    whole = (torch.cat(one) for one in zip(*expected, strict=True))
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(found, whole, strict=True))


@pytest.mark.parametrize("tier", MAKE)
def test_what_comes_back_is_what_was_put(tier):
    place = MAKE[tier]()
    first, second, other = parts(2, 0), parts(1, 1), parts(4, 2)
    place.put(0, first)
    assert same(place.get(0), first)
    place.put(0, second)
    place.put(1, other)
    assert same(place.get(0), first, second)
    assert same(place.get(1), other)
    assert place.nbytes == sum(part.nbytes for one in (first, second, other) for part in one)
    place.keep(0, 1)
    assert same(place.get(0), tuple(part[:1] for part in first))


@pytest.mark.parametrize("tier", MAKE)
def test_the_fetch_before_the_last_is_written_over_and_the_last_is_not(tier):
    place = MAKE[tier]()
    for layer in range(3):
        place.put(layer, parts(2, layer))
    kept = [place.get(layer) for layer in range(3)]
    assert same(kept[2], parts(2, 2))
    assert same(kept[1], parts(2, 1))
    assert kept[0][0].data_ptr() == kept[2][0].data_ptr()  # no fresh memory


def test_a_buffer_grows_and_shrinks_with_what_is_asked_for():
    buffers = Buffers(CPU)
    sizes = [len(buffers.take(parts(count, 0))[0]) for count in (2, 2, 5, 1, 1, 0)]
    assert sizes == [2, 2, 5, 1, 1, 0]


def test_short_files_are_refused():
    file = BytesIO(b"\0" * 12)
    file.name = "short"
    with pytest.raises(EOFError, match="short: 4 bytes are missing"):
        fill(torch.empty(4), file)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="pages cannot be dropped here")
def test_pages_are_dropped_only_where_asked_for(monkeypatch):
    dropped = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *arguments: dropped.append(arguments[1:]))
    for page_cache in (True, False):
        place = DiskPlace(CPU, page_cache=page_cache)
        place.put(0, parts(2, 0))
        place.get(0)
    assert dropped == [(0, 0, os.POSIX_FADV_DONTNEED)]  # of the one file
