"""A batch of 5,000 jobs on a real Slurm cluster, beside one raw `sbatch --array` of the same tasks.

A cluster of 4 nodes with 16 pretended processors each is started on this machine. Jobs are of three
methods: a shell script with nothing to do, where everything that the service adds shows; a Python
script with as little to do, the shortest that a site would call a method; and a shell script that
takes two seconds, of which this cluster runs 32 a second at most, so that what counts is whether
processors are left idle, as on a cluster that does not run on this machine. The floor is the rate
at which the cluster runs one array of a script that does what such a job does (`COMMAND SCRIPT
INPUT PARAMS`, its outputs in files) and nothing else; it is measured before and after, in the same
run. Told are how long it takes until the batch is accepted, how many sbatch calls it takes, and the
rates as a ratio to the floor: with the settings as they are by themselves and a method of which
nothing is known, with one that declares that it is short, the same with no more tasks at a time
than suit a machine that only pretends to have so many processors, and with nothing packed - and the
processor time that this machine needed for each job, Slurm included, which varies less from run to
run.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

import grpc
from benchmarks import bench_service

from dshpc.v1 import job_service_pb2, job_service_pb2_grpc, types_pb2
from support import slurm_cluster

JOBS = 5_000
NODES = 4
CPUS = 16
FEWER_TASKS = 4 * (os.cpu_count() or 1)
"""More of them at a time get into each other's way, and into the server's."""
POLL_SECONDS = 0.1
RESULTS_PER_MESSAGE = 100
LIMIT_MINUTES = 10
"""That of the floor's tasks, and of the method's jobs."""
# An administrator's options are no part of what a job does; those of the floor are ours.
_FLOOR = [
    *("--export=ALL", "--no-requeue", "--output=/dev/null", "--error=/dev/null"),
    f"--time={LIMIT_MINUTES}",
]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    names = [method.name for method in CASES]
    parser.add_argument("--methods", nargs="+", choices=names, default=names)
    asked = parser.parse_args()
    jobs: int = asked.jobs
    # The disk of a test machine may be slower than any cluster's file system.
    memory = pathlib.Path("/dev/shm")
    place = memory if memory.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="dshpc-bench-", dir=place) as name,
        slurm_cluster.running(nodes=NODES, cpus=CPUS) as cluster,
    ):
        print(f"{jobs:,} jobs on {NODES} x {CPUS} pretended processors")
        site = Site(pathlib.Path(name), cluster.environment)
        for method, cases in CASES.items():
            if method.name not in asked.methods:
                continue
            floors = [site.floor(method, jobs // 2)]
            runs = [site.batch(case.method, jobs, case.settings) for case in cases]
            floors.append(site.floor(method, jobs // 2))
            floor = _print_floor(method, floors)
            for case, run in zip(cases, runs, strict=True):
                _print_run(case.name, run, floor)


def _print_floor(method: "Method", floors: Sequence["Cost"]) -> float:
    rate = statistics.fmean(each.rate for each in floors)
    seconds = statistics.fmean(each.cpu_seconds for each in floors)
    rates = " and ".join(f"{each.rate:.1f}" for each in floors)
    print(f"{method.name}:")
    print(
        f"  {'one raw sbatch --array':<22} {rate:6.1f} jobs/s ({rates}), "
        f"{1000 * seconds:.1f} ms of processor time a job"
    )
    return rate


def _print_run(name: str, run: "Run", floor: float) -> None:
    print(
        f"  {name:<22} {run.cost.rate:6.1f} jobs/s, {run.cost.rate / floor:.2f} x the floor; "
        f"{1000 * run.cost.cpu_seconds:.1f} ms; accepted in {run.accepted_seconds:.2f} s, "
        f"{run.sbatch_calls} sbatch calls, {run.tasks} tasks"
    )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """What jobs run: `COMMAND SCRIPT INPUT PARAMS`."""

    name: str
    command: str
    script: str
    text: str
    expected_seconds: float | None = None


SHELL = Method(name="shell", command="sh", script="main.sh", text="echo done\n")
PYTHON = Method(
    name="python",
    command="python3",
    script="main.py",
    text='import json\nprint(json.dumps("done"))\n',
)


TWO_SECONDS = Method(
    name="two-seconds", command="sh", script="main.sh", text="sleep 2\necho done\n"
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A batch that is compared with the floor."""

    name: str
    method: Method
    """Each batch has one of its own: what is known of one is not known of another."""
    settings: Mapping[str, object] = dataclasses.field(default_factory=dict)


def _like(method: Method, name: str, *, expected_seconds: float | None = None) -> Method:
    return dataclasses.replace(
        method, name=f"{method.name}-{name}", expected_seconds=expected_seconds
    )


UNPACKED = {"pack_below_seconds": 0}
CASES: Mapping[Method, Sequence[Case]] = {
    SHELL: [
        Case(name="nothing declared", method=SHELL),
        Case(name="declared to be short", method=_like(SHELL, "declared", expected_seconds=0.05)),
        Case(
            name=f"{FEWER_TASKS} tasks at a time",
            method=_like(SHELL, "fewer", expected_seconds=0.05),
            settings={"slurm_parallel": FEWER_TASKS, "pack_jobs": 1000},
        ),
        Case(name="nothing packed", method=_like(SHELL, "apart"), settings=UNPACKED),
    ],
    PYTHON: [
        Case(name="nothing declared", method=PYTHON),
        Case(name="nothing packed", method=_like(PYTHON, "apart"), settings=UNPACKED),
    ],
    TWO_SECONDS: [
        Case(name="nothing packed", method=TWO_SECONDS, settings=UNPACKED),
    ],
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What so many jobs took."""

    rate: float
    """Jobs per second, from the request to the last message."""
    cpu_seconds: float
    """Processor time of the whole machine, for each job."""


class Meter:
    """Runs from where it is made."""

    def __init__(self) -> None:
        self._at = time.perf_counter()
        self._cpu_seconds = _busy_seconds()

    def read(self, jobs: int) -> Cost:
        """What was needed since, for so many jobs."""
        return Cost(
            rate=jobs / (time.perf_counter() - self._at),
            cpu_seconds=(_busy_seconds() - self._cpu_seconds) / jobs,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one batch took."""

    cost: Cost
    accepted_seconds: float
    sbatch_calls: int
    tasks: int


class Site:
    """A cluster with a folder for what is run on it."""

    def __init__(self, folder: pathlib.Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = self._counting(environment)
        for cases in CASES.values():
            for case in cases:
                _install(folder / "methods", case.method)

    def floor(self, method: Method, tasks: int) -> Cost:
        """What one raw array of so many tasks takes."""
        script = self._folder / "methods/scripts" / method.name / method.script
        out = self._folder / f"raw-{time.monotonic_ns()}"
        out.mkdir()
        batch = self._folder / "raw.sh"
        task = f"{out}/$SLURM_ARRAY_TASK_ID"
        batch.write_text(
            f"#!/bin/sh\n{method.command} {script} in params >{task}.out 2>{task}.err\n"
        )
        meter = Meter()
        words = ["sbatch", *_FLOOR, f"--array=0-{tasks - 1}", str(batch)]
        subprocess.run(words, env=self._environment, check=True, stdout=subprocess.DEVNULL)
        # Names alone at first: what looks on is to cost little.
        while len(os.listdir(out)) < 2 * tasks:  # noqa: PTH208 - see above
            time.sleep(POLL_SECONDS)
        while not all((out / f"{number}.out").stat().st_size for number in range(tasks)):
            time.sleep(POLL_SECONDS)
        return meter.read(tasks)

    def batch(self, method: Method, jobs: int, flags: Mapping[str, object]) -> Run:
        """Send one batch and wait for its end; counts the submissions."""
        request = bench_service.request_of(jobs, method.name)
        self._calls.write_text("")
        with (
            self._server(method.name, flags) as address,
            grpc.insecure_channel(address, bench_service.OPTIONS) as channel,
        ):
            bench_service.upload(channel)
            meter, start = Meter(), time.perf_counter()
            stream = job_service_pb2_grpc.JobServiceStub(channel).StreamSimulateJobs(
                job_service_pb2.StreamSimulateJobsRequest(
                    jobs=request.jobs,
                    stream=types_pb2.StreamOptions(max_results_per_message=RESULTS_PER_MESSAGE),
                ),
                timeout=1800,
            )
            accepted_seconds = 0.0
            statistics_told = []
            for event in stream:
                if event.HasField("accepted"):
                    accepted_seconds = time.perf_counter() - start
                if event.HasField("statistics"):
                    statistics_told.append(event.statistics)
            cost = meter.read(jobs)
        assert statistics_told[-1].completed_jobs == jobs, statistics_told[-1]
        calls = [int(line) + 1 for line in self._calls.read_text().split()]
        return Run(
            cost=cost,
            accepted_seconds=accepted_seconds,
            sbatch_calls=len(calls),
            tasks=sum(calls),
        )

    @contextlib.contextmanager
    def _server(self, name: str, flags: Mapping[str, object]) -> Iterator[str]:
        options = {
            "listen": "127.0.0.1:0",
            "data_dir": self._folder / f"data-{name}",
            "methods_dir": self._folder / "methods",
            "engine": "slurm",
            "log_level": "warning",
            **flags,
        }
        words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        with subprocess.Popen(
            [sys.executable, "-m", "dshpc_server", "serve", *words],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline().removeprefix("listening on ").strip()
            finally:
                process.terminate()
                process.wait()

    def _counting(self, environment: Mapping[str, str]) -> dict[str, str]:
        """An environment whose sbatch notes the last index of each array before it runs."""
        programs = self._folder / "bin"
        programs.mkdir(parents=True)
        self._calls = self._folder / "calls"
        real = subprocess.run(
            ["sh", "-c", "command -v sbatch"],
            env=dict(environment),
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        counting = programs / "sbatch"
        counting.write_text(
            "#!/bin/sh\n"
            "for word do case $word in --array=0-*) last=${word#--array=0-};"
            f" echo ${{last%%%*}} >>{self._calls};; esac; done\n"
            f'exec {real} "$@"\n'
        )
        counting.chmod(0o755)
        python = pathlib.Path(sys.executable).parent
        return {**environment, "PATH": f"{programs}:{python}:{environment['PATH']}"}


def _install(methods_dir: pathlib.Path, method: Method) -> None:
    scripts = methods_dir / "scripts" / method.name
    scripts.mkdir(parents=True)
    (scripts / method.script).write_text(method.text)
    manifest: dict[str, object] = {
        "name": method.name,
        "command": method.command,
        "script_path": method.script,
        "timeout_seconds": 60 * LIMIT_MINUTES,
    }
    if method.expected_seconds is not None:
        manifest["expected_seconds"] = method.expected_seconds
    manifests = methods_dir / "commands"
    manifests.mkdir(exist_ok=True)
    (manifests / f"{method.name}.json").write_text(json.dumps(manifest))


def _busy_seconds() -> float:
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(
        int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
