"""A small day in a server's life, played again after whatever has happened to it.

Upload, batches that complete and that fail, one whose second job goes on from the first one's
output, a job and a batch that are cancelled while they run, content that is deleted. `play` raises
what a call met when the server died in it; played once more on a server that lives, it comes to its
end. What was acknowledged at any time is held against the service by `problems`, and every run has
counted itself.
"""

import dataclasses
import pathlib

import grpc

from dshpc.v1 import batch_service_pb2, file_service_pb2, job_service_pb2, types_pb2
from support import calls, fault_load, fault_tally, fault_verdict, live_server, site
from support.fault_tally import Asked, Mode
from support.fault_verdict import Kills, Told

INLINE_OUTPUT_BYTES = 64
"""What a server is to be told, so that one of the outputs goes to the content store."""
SECONDS = 60.0
_UNUSED = b"nobody needs this\n"


class Scenario:
    """One data folder's story."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.methods_dir = folder / "methods"
        self.tally = fault_tally.Tally(folder / "outside")
        self.tally.install(self.methods_dir)
        self.told: list[Told] = []
        """The batches that were acknowledged."""
        self.stopped_job_id = ""
        """The job that is to be cancelled; empty before it was accepted."""
        self._chains: list[str] = []
        self.withdrawn_job_id = ""
        """That of the batch that is to be cancelled."""
        self._uploaded: set[str] = set()
        self._deleting = False

    def play(self, service: calls.Service) -> None:
        """Do all of it."""
        short = [_asked(Mode.WORK, n=1), _asked(Mode.WORK, n=2, lines=40), _asked(Mode.FAIL, n=3)]
        self._upload(service, short[0].content)
        self._ask(service, short[:2])
        self._ask(service, [*short, _asked(Mode.ONCE, n=4)], finished=True)
        self.chain(service)
        self.wait_for_chains(service)
        self._stop(service, _asked(Mode.STOP, n=5))
        self._withdraw(service, _asked(Mode.STOP, n=6))
        self._delete(service)

    def lost_uploads(self, service: calls.Service) -> list[str]:
        """Which of the uploads that were acknowledged, and not deleted, are not there."""
        wanted = self._uploaded - ({site.hash_of(_UNUSED)} if self._deleting else set())
        return missing(service, *sorted(wanted))

    def wait_until_deleted(self, service: calls.Service) -> None:
        """Wait until the content that was being deleted is gone, and may come again."""
        unused = site.hash_of(_UNUSED)
        live_server.wait_for(lambda: missing(service, unused), "what is deleted to go")

        def may_come_again() -> bool:
            try:
                return bool(service.upload(_UNUSED))
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return False

        live_server.wait_for(may_come_again, "the deletion to end")

    def chain(self, service: calls.Service) -> None:
        """Ask for a job, and for one that goes on from what it puts out."""
        first, second = _asked(Mode.WORK, n=6), dataclasses.replace(_asked(Mode.WORK, n=7), x=0)
        self._upload(service, first.content)
        config = first.config()
        config.config_id = "first"
        answer = service.simulate(config, second.config_after("first"))
        rows = fault_load.rows(answer.results)
        self.told.append(Told(batch_id=answer.batch_id, asked=[first, second], rows=rows))
        self._chains.append(answer.batch_id)

    def wait_for_chains(self, service: calls.Service) -> None:
        """Wait until all rows of those have ended that were acknowledged, though nobody asks."""
        for batch_id in self._chains:
            live_server.wait_for(
                lambda batch_id=batch_id: _has_ended(service, batch_id, rows=2),
                f"batch {batch_id} to end",
            )

    def problems(self, service: calls.Service, kills: Kills) -> list[str]:
        """What was lost, doubled or wrong, now that the story has come to its end."""
        found = fault_load.found(service, self.told)
        return fault_verdict.problems(self.told, found, self.tally.counts(), kills)

    def _upload(self, service: calls.Service, content: bytes) -> None:
        self._uploaded.add(service.upload(content))

    def _ask(
        self, service: calls.Service, asked: list[Asked], *, finished: bool = False
    ) -> job_service_pb2.SimulateJobsResponse:
        answer = service.simulate(*(each.config() for each in asked), finished=finished)
        rows = fault_load.rows(answer.results)
        self.told.append(Told(batch_id=answer.batch_id, asked=asked, rows=rows))
        return answer

    def _stop(self, service: calls.Service, asked: Asked) -> None:
        self.stopped_job_id = self._ask(service, [asked]).results[0].job_id
        service.wait_for_status(self.stopped_job_id, types_pb2.JOB_STATUS_RUNNING)
        cancelled = service.jobs.CancelJob(
            job_service_pb2.CancelJobRequest(job_id=self.stopped_job_id), timeout=SECONDS
        )
        assert cancelled.job.status == fault_verdict.CANCELLED

    def _withdraw(self, service: calls.Service, asked: Asked) -> None:
        answer = self._ask(service, [asked])
        self.withdrawn_job_id = answer.results[0].job_id
        service.wait_for_status(self.withdrawn_job_id, types_pb2.JOB_STATUS_RUNNING)
        withdrawn = service.batches.CancelBatch(
            batch_service_pb2.CancelBatchRequest(batch_id=answer.batch_id), timeout=SECONDS
        )
        assert withdrawn.cancel_requested == 1
        service.wait_for_status(self.withdrawn_job_id, types_pb2.JOB_STATUS_CANCELLED)

    def _delete(self, service: calls.Service) -> None:
        self._upload(service, _UNUSED)
        self._deleting = True
        asked = file_service_pb2.DeleteFileRequest(file_hash=site.hash_of(_UNUSED))
        service.files.DeleteFile(asked, timeout=SECONDS)
        assert missing(service, asked.file_hash)
        self._deleting = False
        self._uploaded.remove(asked.file_hash)


def missing(service: calls.Service, *hashes: str) -> list[str]:
    """Which of these are not stored."""
    asked = file_service_pb2.FindMissingFilesRequest(file_hashes=hashes)
    return list(service.files.FindMissingFiles(asked, timeout=SECONDS).missing_hashes)


def _has_ended(service: calls.Service, batch_id: str, *, rows: int) -> bool:
    """Whether all rows of a batch have, after a while at most."""
    asked = batch_service_pb2.GetBatchRequest(batch_id=batch_id, wait=calls.A_WHILE)
    service.batches.GetBatch(asked, timeout=SECONDS)
    return len(fault_load.ended(service, batch_id)) == rows


def _asked(mode: Mode, *, n: int, lines: int = 1) -> Asked:
    return Asked(mode=mode, x=1000, n=n, lines=lines, milliseconds=0)
