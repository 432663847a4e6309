"""Every drafter found: the output stays the target's own, greedy token for token, sampled in distribution."""

from collections import Counter
from dataclasses import is_dataclass

import pytest
import torch
from scipy.stats import chisquare

from reference_impls.models import generate as plain
from reference_impls.speculative_decoding import HEADER_FIELDS
from reference_impls.speculative_decoding.generate import generate
from tests.speculative_decoding.conftest import prompts, seeded, some_tokens, target
from tests.speculative_decoding.makers import MAKERS, modules

EVERY = sorted(MAKERS)
FAST_PROMPTS, ALL_PROMPTS = 12, 200


def test_every_drafter_of_the_package_is_here():
    assert sorted(modules()) == EVERY


@pytest.mark.parametrize("name", EVERY)
def test_face(name):
    module = modules()[name]
    assert is_dataclass(module.Config)
    assert module.Config.__dataclass_params__.frozen
    assert all(f"\n{field}: " in module.__doc__ for field in HEADER_FIELDS)
    assert set(getattr(module.Drafter, "NEEDS", ())) <= {"states", "judged", "cache"}


def check_greedy(name: str, count: int) -> None:
    model = target()
    for prompt in prompts(count):
        made = generate(model, MAKERS[name](model, prompt), [prompt], 16).tokens[0]
        assert made == plain.generate(model, prompt[None], 16)[0].tolist()


@pytest.mark.parametrize("name", EVERY)
def test_greedy_output_is_the_targets(name):
    check_greedy(name, FAST_PROMPTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_greedy_output_is_the_targets_on_many_prompts(name):
    check_greedy(name, ALL_PROMPTS)


def check_sampling(name: str, config: plain.Config, draws: int) -> None:
    """The first two tokens of many runs against the target's own distribution of pairs."""
    model, prompt = target(), some_tokens(4, vocab=32)
    first = plain.next_token_probs(model(prompt[None])[0, -1], config)
    counts: Counter[tuple[int, ...]] = Counter()
    generator = seeded(17)
    for _ in range(draws):
        made = generate(model, MAKERS[name](model, prompt), [prompt], 4, config, generator=generator).tokens[0]
        counts[made[0], made[1]] += 1  # of four, so that drafts may go deeper than the pair
    follow = torch.cat([prompt.expand(32, -1), torch.arange(32)[:, None]], 1)
    pairs = (first[:, None] * plain.next_token_probs(model(follow)[:, -1], config)).flatten() * draws
    seen = torch.tensor([float(counts[a, b]) for a in range(32) for b in range(32)])
    frequent = pairs >= 5  # rarer pairs share one cell, as the test asks for
    observed = [*seen[frequent].tolist(), float(seen[~frequent].sum())]
    expected = [*pairs[frequent].tolist(), float(pairs[~frequent].sum())]
    cells = [(o, e) for o, e in zip(observed, expected, strict=True) if e > 0]
    assert chisquare(*zip(*cells, strict=True), sum_check=False).pvalue > 1e-4
    assert sum(o for o, e in zip(observed, expected, strict=True) if e == 0) == 0


SAMPLED = [plain.Config(0.5), plain.Config(1.0), plain.Config(1.5, top_p=0.8)]


@pytest.mark.parametrize("name", [name for name in EVERY if name != "oracle"])
def test_sampled_output_is_distributed_as_the_targets(name):
    check_sampling(name, SAMPLED[2], 400)


@pytest.mark.slow
@pytest.mark.parametrize("config", SAMPLED, ids=str)
@pytest.mark.parametrize("name", [name for name in EVERY if name != "oracle"])
def test_sampled_output_is_distributed_as_the_targets_in_many_draws(name, config):
    check_sampling(name, config, 1500)
