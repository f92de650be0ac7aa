"""Servers and their runner are killed at random under load; then nothing may be lost or doubled.

    PYTHONPATH=tests python -m support.fault_torture --minutes 5 [--seed N] [--store postgres]

(`make torture`). What is decided by chance follows from the seed; when the machine does what, does
not.
"""

import argparse
import collections
import contextlib
import dataclasses
import pathlib
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence

from support import (
    calls,
    fault_load,
    fault_runner,
    fault_server,
    fault_tally,
    fault_verdict,
    live_server,
    loaded,
    postgres,
)

PAUSE_SECONDS = (0.1, 1.0)
"""Between two kills of one server."""
_SLOTS = 4
_TOLD_PROBLEMS = 50


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be done to whom."""

    seed: int
    kills: int | None = None
    """None: until the time is over."""
    seconds: float | None = None
    """None: until there were enough kills."""
    servers: int = 1
    store: str = ""
    """The URL of the store; empty: SQLite."""
    clients: int = 4


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of it."""

    plan: Plan
    kills: fault_verdict.Kills
    batches: int
    jobs: int
    runs: int
    """As counted by the jobs themselves."""
    died_with_runner: int
    problems: Sequence[str]

    def __str__(self) -> str:
        """The counts in a line, then the problems."""
        counted = (
            f"torture: seed {self.plan.seed}, {self.kills.servers} server kills, "
            f"{self.kills.runners} runner kills, {self.batches} batches, {self.jobs} jobs, "
            f"{self.runs} runs, of which {self.died_with_runner} died with their runner; "
            f"{len(self.problems)} problems"
        )
        left = len(self.problems) - _TOLD_PROBLEMS
        more = [f"... and {left} more"] if left > 0 else []
        return "\n".join((counted, *self.problems[:_TOLD_PROBLEMS], *more))


class _Torture:
    def __init__(self, folder: pathlib.Path, plan: Plan) -> None:
        self._folder = folder
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._tally = fault_tally.Tally(folder / "outside")
        self._tally.install(folder / "methods")
        self._servers = [
            fault_server.Server(folder, folder / "methods", slots=_SLOTS, store=plan.store)
            for _ in range(plan.servers)
        ]
        self._kills: collections.Counter[str] = collections.Counter()

    def run(self) -> Outcome:
        addresses = [server.address for server in self._servers]
        load = fault_load.Load(addresses, seed=self._plan.seed, clients=self._plan.clients)
        load.start()
        try:
            self._strike_on()
        finally:
            told, problems = load.stop()
        with fault_load.connect(addresses[0]) as channel:
            found = fault_load.found(calls.Service(channel), told)
        for server in self._servers:
            server.stop()
        live_server.wait_until_gone(self._folder / "data")
        problems += [line for server in self._servers for line in server.problems]
        problems += _checked(self._folder / "data", self._plan.store)
        counts = self._tally.counts()
        kills = fault_verdict.Kills(
            servers=self._kills["server"],
            runners=self._kills["runner"],
            attempts_at_once=_SLOTS * len(self._servers),
        )
        problems += fault_verdict.problems(told, found, counts, kills)
        died = [each for each in found.attempts.values() if each.status == fault_verdict.NODE_FAIL]
        return Outcome(
            plan=self._plan,
            kills=kills,
            batches=len(told),
            jobs=len({run.job_id for run in found.attempts}),
            runs=counts.starts.total(),
            died_with_runner=len(died),
            problems=problems,
        )

    def close(self) -> None:
        """Leave nothing that runs, whatever happened."""
        for server in self._servers:
            server.kill()
        fault_runner.kill(self._folder / "data")

    def _strike_on(self) -> None:
        plan, begun_at = self._plan, time.monotonic()
        pause = threading.Event()
        while plan.kills is None or self._kills["server"] < plan.kills:
            pause.wait(plan.servers * self._chance.uniform(*PAUSE_SECONDS))
            if plan.seconds is not None and time.monotonic() - begun_at >= plan.seconds:
                return
            self._strike()

    def _strike(self) -> None:
        server = self._chance.choice(self._servers)
        kind = self._chance.choices(("server", "runner", "both"), (8, 1, 1))[0]
        if kind != "runner":
            server.kill()
            self._kills["server"] += 1
        if kind != "server":
            self._kills["runner"] += fault_runner.kill(self._folder / "data")
        if kind != "runner":
            server.start()


def run(folder: pathlib.Path, plan: Plan) -> Outcome:
    """Torture servers whose data is in this folder; nothing of them is left when it returns."""
    torture = _Torture(folder, plan)
    try:
        return torture.run()
    finally:
        torture.close()


def _checked(data_dir: pathlib.Path, store: str) -> list[str]:
    """What `dshpc-server check` says of a data folder."""
    words = ["check", f"--data-dir={data_dir}"]
    done = loaded.run(words, environment=fault_server.environment(store), timeout=300)
    if done.returncode == 0:
        return []
    return [f"WRONG: check left with code {done.returncode}:\n{done.stdout}{done.stderr}"]


@contextlib.contextmanager
def stores(kind: str) -> Iterator[tuple[str, int]]:
    """Have a store of a kind; its URL, and how many servers are to share it."""
    if kind == "sqlite":
        yield "", 1
    else:
        with postgres.running(is_durable=True) as server:
            yield server.url(server.create()), 2


def main(words: Sequence[str]) -> int:
    """Torture for some minutes; 0 when nothing was lost, doubled or wrong."""
    parser = argparse.ArgumentParser(prog="torture")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    asked = parser.parse_args(words)
    print(f"torture: {asked.store}, {asked.minutes:g} minutes, seed {asked.seed}", flush=True)  # noqa: T201 - for people
    with (
        stores(asked.store) as (store, servers),
        tempfile.TemporaryDirectory(prefix="torture-") as folder,
    ):
        plan = Plan(seed=asked.seed, seconds=60 * asked.minutes, servers=servers, store=store)
        outcome = run(pathlib.Path(folder), plan)
    print(outcome)  # noqa: T201 - for people
    return min(1, len(outcome.problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
