"""The key-value cache: paged, prefix-shared, quantised, evicted, offloaded, behind the decoder's `Cache` argument."""
