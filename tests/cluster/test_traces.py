# ruff: noqa: E501 records of traces stay on one line
"""Made-up traces have the traits they claim, and files of the public ones are read or refused with their place."""

import json

import numpy as np
import pytest

from reference_impls.cluster import trace_files, traces
from reference_impls.cluster.trace_files import TraceError
from tests.cluster.makers import fitted


@pytest.mark.parametrize("load", [0.3, 1.0])
def test_a_trace_has_its_load_and_its_shares(load):
    jobs = traces.philly_like(fitted(), traces.Config(4000, 64, load), 0)
    assert traces.offered_load(jobs, fitted(), 64) == pytest.approx(load, rel=0.05)
    assert np.mean([job.gpus == 1 for job in jobs]) == pytest.approx(0.7, abs=0.03)
    assert [job.arrival_s for job in jobs] == sorted(job.arrival_s for job in jobs)
    seconds = [job.iterations / fitted()[job.profile].rate[job.gpus.bit_length() - 1][-1] for job in jobs]
    assert np.median(seconds) == pytest.approx(1200, rel=0.15)
    assert np.log10(max(seconds) / min(seconds)) > 3.5  # about four decades


def test_a_seed_gives_the_same_trace_and_another_seed_another():
    config = traces.Config(50)
    assert traces.philly_like(fitted(), config, 1) == traces.philly_like(fitted(), config, 1)
    assert traces.philly_like(fitted(), config, 1) != traces.philly_like(fitted(), config, 2)


def test_more_arrive_by_day():
    rng = np.random.default_rng(0)
    at = traces.day_shaped(20_000, 4 * traces.DAY_S, 0.8, rng) % traces.DAY_S
    first, second = (at < traces.DAY_S / 2).mean(), (at >= traces.DAY_S / 2).mean()
    assert first / second == pytest.approx((1 + 1.6 / np.pi) / (1 - 1.6 / np.pi), rel=0.1)


def test_online_load_is_a_day():
    load = traces.online_load(traces.DAY_S, 60, 0.3, 0.6, 0)
    assert load.shape == (1440,)
    assert 0.01 <= load.min() < load.max() <= 0.95
    assert load.mean() == pytest.approx(0.3, abs=0.03)
    assert np.corrcoef(load[:-1], load[1:])[0, 1] > 0.8


PHILLY = [
    {
        "jobid": "a",
        "submitted_time": "2017-10-07 01:01:00",
        "attempts": [
            {"start_time": "2017-10-07 01:02:00", "end_time": "2017-10-07 01:12:00",
             "detail": [{"ip": "m1", "gpus": ["gpu0", "gpu1"]}, {"ip": "m2", "gpus": ["gpu3"]}]},
        ],
    },
    {"jobid": "b", "submitted_time": "2017-10-07 01:00:00", "attempts": []},
]  # fmt: skip
HELIOS = "job_id,user,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,queue\n"
PAI = "job_name,task_name,inst_num,status,start_time,end_time,plan_cpu,plan_mem,plan_gpu,gpu_type\n"


def write(tmp_path, text, name="trace"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_philly(tmp_path):
    [row] = trace_files.read_philly(write(tmp_path, json.dumps(PHILLY)))
    assert (row.name, row.seconds, row.gpus) == ("a", 600, 3)
    [job] = trace_files.to_jobs([row], fitted(), 64)
    assert (job.gpus, job.arrival_s) == (4, 0)


def test_helios(tmp_path):
    text = (
        HELIOS + "1,u,8,16,1,COMPLETED,2020-04-01 00:00:10,x,y,120,q\n2,u,0,4,1,COMPLETED,2020-04-01 00:00:00,x,y,5,q\n"
    )
    [row] = trace_files.read_helios(write(tmp_path, text))
    assert (row.gpus, row.seconds) == (8, 120)


def test_pai(tmp_path):
    text = PAI + "j,worker,4,Terminated,100.0,400.0,600,29,50.0,V100\nk,w,1,Waiting,,,600,29,50.0,V100\n"
    [row] = trace_files.read_pai(write(tmp_path, text))
    assert (row.gpus, row.seconds, row.submitted_s) == (2, 300, 100)


def test_iterations_are_those_of_the_duration(tmp_path):
    rows = [trace_files.Row(str(n), 10.0 * n, 60.0, 2) for n in range(5)]
    for job in trace_files.to_jobs(rows, fitted(), 64):
        assert job.iterations / fitted()[job.profile].rate[1][-1] == pytest.approx(60)


@pytest.mark.parametrize(
    ("read", "text", "where"),
    [
        (trace_files.read_philly, "[\n{,", r"trace:2: not JSON"),
        (trace_files.read_philly, "{}", r"trace:1: expected a list"),
        (trace_files.read_philly, '[{"jobid": 1}]', r"trace: job 1: no 'attempts'"),
        (trace_files.read_philly, '[{"jobid": 1, "submitted_time": "x", "attempts": []}]', r"job 1: could not convert"),
        (trace_files.read_philly, '[{"jobid": 1, "submitted_time": "1", "attempts": 3}]', r"job 1: attempts: expected a"),
        (trace_files.read_helios, "a,b\n", r"trace:1: the header lacks job_id"),
        (trace_files.read_helios, HELIOS + "1,u,x,16,1,C,2020-04-01 00:00:10,x,y,120,q\n", r"trace:2: could not convert"),
        (trace_files.read_helios, HELIOS + "1,u,8,16,1,C,2020-04-01,x,y,-3,q\n", r"trace:2: seconds and GPUs"),
        (trace_files.read_helios, HELIOS + "1,u,nan,16,1,C,2020-04-01,x,y,3,q\n", r"trace:2: numbers must be finite"),
        (trace_files.read_helios, HELIOS + "1,u\n", r"trace:2: "),
        (trace_files.read_pai, PAI + "j,w,1,T,5,x,1,1,50,V\n", r"trace:2: could not convert"),
    ],
)  # fmt: skip
def test_broken_files_are_refused_with_their_place(tmp_path, read, text, where):
    with pytest.raises(TraceError, match=where):
        read(write(tmp_path, text))
