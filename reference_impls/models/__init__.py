"""Decoders that the techniques plug into: one small Llama-style model, its cache, its loaders and a tiny trained pair.

`decoder.Decoder(config)` maps tokens to logits; whatever is remembered between calls is in the `cache.Cache` it is
given. `weights.load`, `smollm2.load_smollm2` and `tiny.load_target` make one from files, `shapes.random_model` from a
generator.
"""
