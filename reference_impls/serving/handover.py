"""A sequence's cache moved from one engine's memory into another's, block by block.

Paper: arXiv 2401.09670 (DistServe), section 4.3; 2311.18677 (Splitwise), section 4.
Idea: a paged cache is a list of equal blocks, so whoever prefills can hand it to whoever decodes.
Symbols: nothing.
Simplified: the whole cache at once; Splitwise sends each layer while the next one is computed.
Differs: nothing.
Cost: 2 * layers * kv_heads * head_dim numbers a token.
Checked against: decoding goes on in the other pool as it would have in the first.
"""

from reference_impls.kv_cache.paged import PagedPool, Sequence


def hand_over(source: PagedPool, sequence: Sequence, target: PagedPool) -> Sequence:
    """The sequence in the target's memory; its blocks in the source are free. Pools must agree on the blocks' shape."""
    if source.storage.shape[1:] != target.storage.shape[1:]:
        shapes = (tuple(pool.storage.shape[1:]) for pool in (source, target))
        raise ValueError("the pools' blocks differ in shape: {} and {}".format(*shapes))
    arrived = target.new_sequence()
    target.manager.reserve([(arrived, 0, sequence.length)])
    kept = sequence.blocks[: len(arrived.blocks)]
    target.storage[arrived.blocks] = source.storage[kept].to(target.storage.device)
    arrived.length = sequence.length
    source.free(sequence)
    return arrived
