"""What each pretended program does: takes its words apart, asks the controller, answers."""

import asyncio
import pathlib
import time
from collections.abc import AsyncGenerator

from support import fake_slurm_accounting as accounting
from support import fake_slurm_answers as answers
from support import fake_slurm_cancelling as cancelling
from support import fake_slurm_faults as faults_
from support import fake_slurm_jobs as jobs
from support import fake_slurm_scheduler as scheduler
from support import fake_slurm_settings as settings_
from support import fake_slurm_submitting as submitting
from support import fake_slurm_wire as wire
from support import fake_slurm_words as words_

_UNREACHABLE = "Unable to contact slurm controller (connect failure)"
_TIMED_OUT = "Socket timed out on send/recv operation"
_GARBAGE = "\x00\x7f|||\nnot a line of squeue|12_|\n_7||PENDING\n"
_UNREACHED = {
    "scancel": "scancel: error: slurm_kill_job2 error: ",
    "scontrol": "slurm_load_ctl_conf error: ",
    "sinfo": "slurm_load_partitions: ",
    "squeue": "slurm_load_jobs error: ",
}


class Programs:
    """The answers to all of them."""

    def __init__(
        self,
        settings: settings_.Settings,
        book: jobs.Book,
        tasks: scheduler.Scheduler,
        faults: faults_.Faults,
        spool: pathlib.Path,
    ) -> None:
        self._settings = settings
        self._book = book
        self._tasks = tasks
        self._faults = faults
        self._spool = spool
        self._cancelling = cancelling.Cancelling(settings, book, tasks)

    async def answers(self, request: wire.Request) -> AsyncGenerator[wire.Answer, None]:
        """What the program prints, until one of them has an exit code."""
        self._faults.calls.append([request.program, *request.words])
        program = getattr(self, f"_{request.program}")
        try:
            async for answer in program(request):
                yield answer
        except words_.WordsError as error:
            yield wire.Answer(error=str(error), code=255 if request.program == "sbatch" else 1)
        except submitting.RefusedError as error:
            yield wire.Answer(error=str(error), code=1)

    async def _sbatch(self, request: wire.Request) -> AsyncGenerator[wire.Answer, None]:
        words = words_.parse(
            "sbatch", request.words, words_.SBATCH, words_.SBATCH_SHORT, is_mixed=False
        )
        submitting.check_by_itself(request, words)
        await self._faults.is_answering(patience_seconds=None)
        if self._faults.refusals:
            raise submitting.failed(self._faults.refusals.popleft())
        while not self._has_room_in_queue(words):
            yield wire.Answer(
                error="sbatch: error: Slurm temporarily unable to accept job,"
                " sleeping and retrying\n",
                code=None,
            )
            await asyncio.sleep(self._settings.retry_seconds)
        array = self._submit(request, words)
        if self._faults.takings:
            if self._faults.takings.popleft():
                await asyncio.Event().wait()
            raise submitting.failed(_TIMED_OUT)
        is_short = "parsable" in words.options
        yield wire.Answer(f"{array.id}\n" if is_short else f"Submitted batch job {array.id}\n")

    def _submit(self, request: wire.Request, words: words_.Words) -> jobs.Array:
        job_id = self._book.next_id
        array = submitting.array(job_id, request, words, self._settings, self._spool)
        self._book.arrays[self._book.new_id()] = array
        submitting.check_room(array, self._settings)
        self._faults.submissions.append(
            {
                "id": str(job_id),
                "name": array.name,
                "tasks": 1 if array.indexes is None else len(array.indexes),
                "options": dict(words.options),
                "script": words.rest[0],
                "arguments": list(words.rest[1:]),
                "environment": request.environment,
            }
        )
        self._tasks.wake()
        return array

    def _has_room_in_queue(self, words: words_.Words) -> bool:
        indexes = words.options.get("array")
        wanted = 1 if indexes is None else words_.count(indexes)
        self._forget_older()
        # What has ended counts, too, as long as it is told of; and the last place stays free.
        known = sum(1 for _ in self._book.tasks())
        return known + wanted < self._settings.max_job_count

    async def _squeue(self, request: wire.Request) -> AsyncGenerator[wire.Answer, None]:
        words = words_.parse("squeue", request.words, words_.SQUEUE, words_.SQUEUE_SHORT)
        if not await self._is_answering():
            yield self._unreached(request.program)
            return
        self._forget_older()
        asked = words.options.get("jobs", "")
        if asked and "," not in asked and not self._book.named(asked):
            yield wire.Answer(error="slurm_load_jobs error: Invalid job id specified\n", code=1)
            return
        out = answers.squeue(self._book, words, _time_format(request))
        match self._faults.lie:
            case "empty":
                out = ""
            case "cut":
                out = out[: len(out) // 2]
            case "garbage":
                out = _GARBAGE
            case "error":
                yield wire.Answer(error=f"slurm_load_jobs error: {_TIMED_OUT}\n", code=1)
                return
        yield wire.Answer(out)

    async def _sinfo(self, request: wire.Request) -> AsyncGenerator[wire.Answer, None]:
        words = words_.parse("sinfo", request.words, words_.SINFO, words_.SINFO_SHORT)
        if await self._is_answering():
            yield wire.Answer(answers.sinfo(self._tasks.nodes, self._settings, words))
        else:
            yield self._unreached(request.program)

    async def _scontrol(self, request: wire.Request) -> AsyncGenerator[wire.Answer, None]:
        words = words_.parse("scontrol", request.words, words_.SCONTROL, words_.SCONTROL_SHORT)
        what = tuple(words.rest[:2])
        if what == ("ping",) and not self._faults.is_up:
            yield wire.Answer("Slurmctld(primary) at fake is DOWN\n", code=1)
        elif not await self._is_answering():
            yield self._unreached(request.program)
        elif what == ("ping",):
            yield wire.Answer("Slurmctld(primary) at fake is UP\n")
        elif what == ("show", "config"):
            yield wire.Answer(
                answers.config(
                    self._settings,
                    booted_at=self._faults.booted_at,
                    form=_time_format(request),
                )
            )
        elif what == ("show", "partition"):
            yield wire.Answer(answers.partition(self._settings))
        else:
            yield wire.Answer(error=f"invalid keyword: {' '.join(words.rest)}\n", code=1)

    async def _scancel(self, request: wire.Request) -> AsyncGenerator[wire.Answer, None]:
        words = words_.parse("scancel", request.words, words_.SCANCEL, words_.SCANCEL_SHORT)
        cancelling.check(words)
        if await self._is_answering():
            yield await self._cancelling.answer(words)
        else:
            yield self._unreached(request.program)

    async def _sacct(self, request: wire.Request) -> AsyncGenerator[wire.Answer, None]:
        words = words_.parse("sacct", request.words, words_.SACCT, words_.SACCT_SHORT)
        if self._settings.has_accounting:
            # It asks a database, and not the controller.
            yield wire.Answer(accounting.sacct(self._book, words, _time_format(request)))
        else:
            yield wire.Answer(error="Slurm accounting storage is disabled\n", code=1)

    def _forget_older(self) -> None:
        self._book.forget_older(time.time() - self._settings.min_job_age_seconds)

    async def _is_answering(self) -> bool:
        return await self._faults.is_answering(patience_seconds=self._settings.unanswered_seconds)

    def _unreached(self, program: str) -> wire.Answer:
        return wire.Answer(error=f"{_UNREACHED[program]}{_UNREACHABLE}\n", code=1)


def _time_format(request: wire.Request) -> str:
    return request.environment.get("SLURM_TIME_FORMAT", "")
