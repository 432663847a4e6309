"""Every policy of the family has the face, and every technique says what it must."""

import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest

import reference_impls.serving as family
from reference_impls.serving import HEADER_FIELDS, Job, Scheduler, State, policies

MODULES = sorted(one.name for one in iter_modules(family.__path__))
HELPERS = {"kv_movement", "metrics", "queues", "sweeps"}
TECHNIQUES = [name for name in MODULES if name not in HELPERS and not name.startswith("bench")]
FACE = [name for name in dir(Scheduler) if not name.startswith("_")]


def test_the_policies_are_found():
    assert set(policies()) == {"fastserve", "fcfs", "fixed_priority", "mlfq", "run_to_completion", "srpt"}


@pytest.mark.parametrize("name", TECHNIQUES)
def test_header_has_every_field_in_order(name):
    text = import_module(f"{family.__name__}.{name}").__doc__
    places = [text.find(f"\n{field}: ") for field in HEADER_FIELDS]
    assert -1 not in places, f"{name}: its header lacks {HEADER_FIELDS[places.index(-1)]}"
    assert places == sorted(places)


@pytest.mark.parametrize("name", policies())
def test_a_policy_has_the_whole_face_and_a_frozen_config(name):
    policy = policies()[name]
    assert policy.Config.__dataclass_params__.frozen
    scheduler = policy.Scheduler(policy.Config())
    assert all(hasattr(scheduler, one) for one in [*FACE, "preempts"])
    job, state = Job(0, 0.0, 4, 2), State(0.0, lambda tokens: 0.01)
    scheduler.enter(job, state)
    assert list(scheduler.schedule(state)) == [job]
    scheduler.leave(job)
    assert list(scheduler.schedule(state)) == []


def test_nothing_but_the_engine_and_the_bench_imports_torch():
    free = [name for name in MODULES if not name.startswith(family.TORCH_MODULES)]
    imports = "; ".join(f"import reference_impls.serving.{name}" for name in free)
    code = f"import sys; {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
