"""The tables, read once, and shapes of this package's own decoders."""

import pytest

from reference_impls.cost_model import Shape, Tables, load_tables
from reference_impls.models.decoder import Config


@pytest.fixture(scope="session")
def tables() -> Tables:
    """What the package ships."""
    return load_tables()


def shape_of(config: Config) -> Shape:
    """The shape of a decoder of this package."""
    return Shape(
        hidden=config.hidden,
        vocab=config.vocab,
        tied=config.tied,
        global_layers=config.layers,
        dense_layers=config.layers,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        ffn=config.ffn,
    )
