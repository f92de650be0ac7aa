"""How fast the local engine runs jobs that do nothing, next to the floor of this machine.

The floors are what a user would type (`xargs -P2`) and a bare loop of posix_spawn, both measured
in the same run and interleaved with the engine, since only ratios are worth anything on a shared
machine. The engine keeps a handful of small files a job, so the file system counts: compare
`--folder /dev/shm`. ext4 makes files slowly for a minute after many were deleted.
"""

import argparse
import asyncio
import collections
import itertools
import os
import pathlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence

from dshpc_server.domain.job import AttemptKey, Resources
from dshpc_server.engine import port
from dshpc_server.engine.local import engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in-flight", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--folder", help="where the engine keeps its data")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        compare(pathlib.Path(folder), arguments.jobs, arguments.rounds, arguments.in_flight)


def compare(folder: pathlib.Path, jobs: int, rounds: int, in_flight: int) -> None:
    numbers = itertools.count()

    def engine_with(confinement: str) -> float:
        fresh = folder / str(next(numbers))
        return asyncio.run(engine_rate(fresh, jobs, confinement, in_flight))

    contenders: dict[str, Callable[[], float]] = {
        "xargs -P2 /bin/true": lambda: xargs_rate(jobs),
        "posix_spawn, two at a time": lambda: spawn_rate(jobs),
        "engine, control groups": lambda: engine_with("auto"),
        "engine, no control groups": lambda: engine_with("none"),
    }
    rates: dict[str, list[float]] = collections.defaultdict(list)
    for _ in range(rounds):
        for name, measure in contenders.items():
            rates[name].append(measure())
    floor = statistics.median(rates["xargs -P2 /bin/true"])
    print(f"{jobs} jobs, {rounds} rounds, {in_flight} in flight; medians")
    for name, measured in rates.items():
        rate = statistics.median(measured)
        print(f"{name:<28} {rate:7.0f} jobs/s  {rate / floor:5.2f} x xargs")


def xargs_rate(jobs: int) -> float:
    numbers = "\n".join(map(str, range(jobs)))
    began_at = time.perf_counter()
    subprocess.run(["xargs", "-P2", "-n1", "/bin/true"], input=numbers, text=True, check=True)
    return jobs / (time.perf_counter() - began_at)


def spawn_rate(jobs: int) -> float:
    began_at = time.perf_counter()
    for number in range(jobs):
        os.posix_spawn("/bin/true", ["true", str(number)], {}, setsid=True)
        if number:
            os.wait()
    os.wait()
    return jobs / (time.perf_counter() - began_at)


async def engine_rate(folder: pathlib.Path, jobs: int, confinement: str, in_flight: int) -> float:
    local = engine.LocalEngine(
        folder / "engine",
        capacity=port.Capacity(cpus=in_flight, memory_bytes=0, gpus=0),
        confinement=confinement,
    )
    launches = [_launch(folder, number) for number in range(jobs + 1)]
    ended = asyncio.Queue[int]()

    async def report(facts: Sequence[port.Fact]) -> None:
        ended.put_nowait(sum(isinstance(fact, port.Exited) for fact in facts))

    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(local.run(report))
        await local.submit_many([launches.pop()])
        while not await ended.get():
            pass
        began_at = time.perf_counter()
        free, left = in_flight, jobs
        while left:
            if free and launches:
                await local.submit_many(launches[-free:])
                del launches[-free:]
            free = await ended.get()
            left -= free
        took_seconds = time.perf_counter() - began_at
        serving.cancel()
    return jobs / took_seconds


def _launch(folder: pathlib.Path, number: int) -> port.Launch:
    return port.Launch(
        key=AttemptKey(job_id=f"{number:064x}", number=1),
        folder=folder / "attempts" / str(number),
        command=["true"],
        script=folder / "script",
        method_dir=folder,
        method_name="nothing",
        inputs={},
        parameters_json="{}",
        resources=Resources(),
        timeout_seconds=60,
    )


if __name__ == "__main__":
    main()
