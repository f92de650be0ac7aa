"""The cluster by Slurm's own commands: sbatch, squeue, scancel, scontrol, sinfo, sacct.

Promises: each call is one command, or a few where its words would be too many; a command has its
time, and is killed when that is up. Nothing of the server's environment reaches a command, and so
a job, but where Slurm and programs are.
"""

import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping, Sequence

from dshpc_server.engine.slurm import accounting, conversation, parsing, refusals
from dshpc_server.engine.slurm.cluster import (
    Array,
    Limits,
    Partition,
    RefusedError,
    Task,
    UnknownOutcomeError,
    UnreachableError,
)

_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "HOME", "TZ", "SLURM_CONF")
_FIXED = {
    "LANG": "C.UTF-8",
    # Slurm writes moments in local time; this asks for seconds since 1970.
    "SLURM_TIME_FORMAT": "%s",
    # Rows of tasks are told in full.
    "SLURM_BITSTR_LEN": "0",
}
_LATE = "late"
"""What the wrapper is told to start its watcher when it gets a signal."""
_WAKE = "--signal=B:URG@65535"
"""Sent so long before the time limit, at the next look at time limits: where those are shorter, in
the first half minute. To the wrapper's shell alone, and harmless before that expects it."""
_MEBIBYTE = 1024 * 1024
_WORDS_CHARACTERS = 80_000  # of one command; Linux takes 2 MiB with the environment
_HOLD_NO_JOB = (
    "Invalid job id specified",
    "Job/step already completing or completed",
    "Access/permission denied",  # ids are given again: that is somebody else's by now
    "Job is not pending nor running",
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts:
    """How long a command may take. Seconds."""

    submit_seconds: float = 20.0
    """sbatch goes on trying by itself while the controller is down."""
    ask_seconds: float = 10.0
    stop_seconds: float = 10.0
    account_seconds: float = 30.0
    """sacct asks a database, which may be large."""


class CommandLine:
    """`cluster.Cluster` by commands that are found on PATH."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        partition: str = "",
        account: str = "",
        qos: str = "",
        options: Sequence[str] = (),
        timeouts: Timeouts = Timeouts(),
    ) -> None:
        passed_on = {key: environment[key] for key in _PASSED_ON if key in environment}
        self._environment = passed_on | _FIXED
        self._partition = partition
        self._where = _given("--partition", partition)
        self._where += [*_given("--account", account), *_given("--qos", qos), *options]
        # A task is sent one signal of this kind: where the site has one sent, ours never is.
        self._may_wake = not any(word.startswith("--sig") for word in options)
        self._timeouts = timeouts

    async def limits(self) -> Limits:
        """What the cluster's settings say now."""
        text = await self._ask("scontrol", "show", "config")
        try:
            return parsing.limits(text)
        except parsing.NoFormError as error:
            raise UnreachableError("scontrol", str(error)) from error

    async def partition(self) -> Partition:
        """What the partition has that jobs go to."""
        which = _given("--partition", self._partition)
        text = await self._ask(
            "sinfo", "--noheader", "--Node", "--noconvert",
            f"--format={parsing.PARTITION_FORMAT}", *which,
        )  # fmt: skip
        try:
            return parsing.partition(text, self._partition)
        except parsing.NoFormError as error:
            raise UnreachableError("sinfo", str(error)) from error

    async def submit(self, array: Array) -> str:
        """Submit an array and return its job id. Raises RefusedError or UnknownOutcomeError."""
        late = array.is_watched_late and self._may_wake
        array = dataclasses.replace(array, is_watched_late=late)
        words = ["sbatch", *_options(array), *self._where, str(array.script), str(array.folder)]
        if array.is_watched_late:
            words.append(_LATE)
        try:
            answer = await conversation.hold(
                words,
                environment=self._environment,
                patience_seconds=self._timeouts.submit_seconds,
                is_hopeless=refusals.is_retrying,
            )
        except OSError as error:  # nothing was sent
            raise RefusedError(_not_run("sbatch", error), is_permanent=False) from error
        if answer.exit_code != 0:
            raise refusals.problem(answer)
        job_id = parsing.submitted(answer.output.decode(errors="replace"))
        if job_id is None:
            raise UnknownOutcomeError("sbatch told no job id")
        return job_id

    async def tasks(self, *, ended: bool) -> Sequence[Task]:
        """Every task of this user that is queued or runs; of those with `ended`, all it knows."""
        states = ["--states=all"] if ended else []
        text = await self._ask(
            "squeue", "--noheader", "--all", f"--user={os.geteuid()}",
            f"--format={parsing.TASKS_FORMAT}", *states,
        )  # fmt: skip
        try:
            return parsing.tasks(text)
        except parsing.NoFormError as error:
            raise UnreachableError("squeue", str(error)) from error

    async def accounted(self, names: Collection[str]) -> Sequence[Task]:
        """What accounting knows of these arrays."""
        found: list[Task] = []
        for some in _portions(list(names), between=","):
            text = await self._ask(
                "sacct", "--noheader", "--parsable2", f"--user={os.geteuid()}",
                f"--name={','.join(some)}", f"--starttime={accounting.SINCE}",
                f"--format={accounting.FORMAT}", seconds=self._timeouts.account_seconds,
            )  # fmt: skip
            found += accounting.rows(text)
        return found

    async def cancel(self, job_ids: Sequence[str]) -> None:
        """Have these stopped; `12_7` is one task. Unknown and ended ones are none."""
        for some in _portions(parsing.slices(job_ids)):
            await self._stop(*some)

    async def _stop(self, *words: str) -> None:
        seconds = self._timeouts.stop_seconds
        answer = await self._hold(["scancel", *words], seconds)
        if answer.exit_code is None:
            raise UnreachableError("scancel", f"no answer within {seconds:g} s")
        _check_stopped(answer)

    async def _ask(self, command: str, *words: str, seconds: float | None = None) -> str:
        """Return what a command printed. Raises UnreachableError."""
        patience_seconds = self._timeouts.ask_seconds if seconds is None else seconds
        answer = await self._hold([command, *words], patience_seconds)
        if answer.exit_code is None:
            raise UnreachableError(command, f"no answer within {patience_seconds:g} s")
        if answer.exit_code != 0:
            raise _failed(command, answer, answer.complaints.decode(errors="replace"))
        return answer.output.decode(errors="replace")

    async def _hold(self, words: Sequence[str], patience_seconds: float) -> conversation.Answer:
        try:
            return await conversation.hold(
                words, environment=self._environment, patience_seconds=patience_seconds
            )
        except OSError as error:
            raise UnreachableError(words[0], _not_run(words[0], error)) from error


def _options(array: Array) -> list[str]:
    """What sbatch is told of an array."""
    parallel = f"%{array.parallel}" if array.parallel else ""
    words = [
        "--parsable",
        # Anything but ALL has each task started by way of a login shell, which takes 0.3 s.
        "--export=ALL",
        "--no-requeue",
        f"--job-name={array.name}",
        "--input=/dev/null",
        "--output=/dev/null",
        "--error=/dev/null",
        f"--chdir={array.folder}",
        f"--array=0-{array.tasks - 1}{parallel}",
        "--ntasks=1",
        "--nodes=1",
        f"--cpus-per-task={array.cpus}",
        f"--time={array.minutes}",
        f"--nice={array.nice}",
    ]
    if array.memory_bytes:
        words.append(f"--mem={-(-array.memory_bytes // _MEBIBYTE)}M")
    if array.gpus:
        words.append(f"--gres=gpu:{array.gpus}")
    if array.is_watched_late:
        words.append(_WAKE)
    return words


def _given(option: str, value: str) -> list[str]:
    return [f"{option}={value}"] if value else []


def _portions(words: Sequence[str], between: str = " ") -> Iterator[list[str]]:
    """Yield them in order, as many at a time as fit into one command."""
    portion: list[str] = []
    length = 0
    for word in words:
        if portion and length + len(word) > _WORDS_CHARACTERS:
            yield portion
            portion, length = [], 0
        portion.append(word)
        length += len(word) + len(between)
    if portion:
        yield portion


def _check_stopped(answer: conversation.Answer) -> None:
    """Raise UnreachableError if scancel failed, unless there is just no such job."""
    lines = answer.complaints.decode(errors="replace").splitlines()
    wrong = [line for line in lines if line and not line.endswith(_HOLD_NO_JOB)]
    if answer.exit_code != 0 and (wrong or not lines):
        raise _failed("scancel", answer, "\n".join(wrong))


def _failed(command: str, answer: conversation.Answer, complaints: str) -> UnreachableError:
    said = parsing.first_line(complaints)
    return UnreachableError(command, said or f"it ended with {answer.exit_code} and said nothing")


def _not_run(command: str, error: OSError) -> str:
    return f"{command} cannot be run: {error.strerror}"
