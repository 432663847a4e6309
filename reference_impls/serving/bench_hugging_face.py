"""Continuous batching of transformers on the requests of a set-up, all asked for at once."""

from functools import cache
from typing import Any

from reference_impls.measurement.case import Implementation, Step, Workload
from reference_impls.serving.bench_engine import Setup, model_of, prompts_of, requests_of

BLOCK, BLOCKS, TOKENS = 16, 1024, 256
"""Tokens of a block, blocks, tokens of an iteration. Without a bound it sets most of the free memory aside first."""


@cache
def hugging_face(name: str) -> Any:
    """The same weights as its own model; its attention looks through block tables once its manager runs."""
    from reference_impls.quantization.peers import to_transformers

    model = to_transformers(model_of(name, "cpu"))
    model.set_attn_implementation("sdpa")
    return model


def answers(setup: Setup, seed: int = 0) -> dict[int, list[int]]:
    """Tokens made for each request, from the start of its thread to its end."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    requests = requests_of(setup, seed)
    prompts = prompts_of(setup, requests)
    greedy = GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0)
    config = ContinuousBatchingConfig(
        page_size=BLOCK, num_blocks=BLOCKS, max_batch_tokens=TOKENS, max_requests_per_batch=setup.batch
    )
    manager = hugging_face(setup.model).continuous_batching_context_manager(
        generation_config=greedy, continuous_batching_config=config, warmup=False
    )
    found: dict[int, list[int]] = {}
    with manager as running:
        for one in requests:
            running.add_request(prompts[one.id].tolist(), request_id=str(one.id), max_new_tokens=one.output)
        while len(found) < len(requests):
            result = running.get_result(timeout=5)
            if result is None and not running.is_running():
                raise RuntimeError("the manager's thread has ended before all answers were made")
            if result is not None and result.error:
                raise RuntimeError(result.error)
            if result is not None and result.is_finished():
                found[int(result.request_id)] = result.generated_tokens
    return found


def peer(setup: Setup) -> Implementation:
    """As a contestant of a timed case."""

    def prepare(_work: Workload, _device: str) -> Step:
        from transformers.utils import logging

        logging.set_verbosity_error()
        hugging_face(setup.model)

        def step() -> None:
            answers(setup)

        return step

    note = "starting and ending its thread is included"
    return Implementation("transformers-continuous-batching", "peer", "kernel", prepare, ("transformers",), note=note)
