"""Every job of examples/demo.yaml completes."""

import collections

import pytest

from support import examples_runs as examples

JOBS = examples.demo_jobs()


@pytest.mark.parametrize("method", sorted({job.method for job in JOBS}))
def test_every_job_of_a_method_completes(method: str) -> None:
    jobs = [(job.path, job.parameters) for job in JOBS if job.method == method]
    runs = examples.run_all(method, jobs)
    assert [(run.exit_code, run.log) for run in runs] == [(0, "")] * len(jobs)
    assert all(run.output.endswith("\n") for run in runs)
    assert len(jobs) >= 2


def test_no_job_is_there_twice() -> None:
    identities = collections.Counter(
        (
            job.method,
            job.path,
            repr(sorted(examples.with_defaults(job.method, job.parameters).items())),
        )
        for job in JOBS
    )
    assert set(identities.values()) == {1}
