"""Clients that ask while servers die, and keep what they were told. One thread each.

A client asks for jobs that are new, repeated, failing or failing once, as a stream or not, and asks
again when a call fails as calls may while a server dies. What a server acknowledged is held against
it in the end.
"""

import contextlib
import random
import threading
from collections.abc import Iterator, Mapping, Sequence

import grpc

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from support import calls, live_server, site
from support.fault_tally import Asked, Mode, Run
from support.fault_verdict import Attempt, Found, Row, Told

CALL_SECONDS = 30.0
END_SECONDS = 120.0
"""How long all that was accepted may take to end once nobody is killed any more."""
_PAUSE_SECONDS = 0.02
_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,  # another call goes on with an upload
    }
)
"""What a call may end with while servers die. A client asks again."""
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.service_config", '{"methodConfig": [{"name": [{}], "waitForReady": true}]}'),
)


def connect(address: str) -> grpc.Channel:
    """Return a channel that is back soon after its server."""
    return grpc.insecure_channel(address, options=_OPTIONS)


class Load:
    """So many clients of some servers, from `start` to `stop`."""

    def __init__(self, addresses: Sequence[str], *, seed: int, clients: int) -> None:
        self._over = threading.Event()
        self._made: list[Asked] = []
        """What was asked for before, by anybody."""
        self._clients = [
            _Client(addresses, random.Random(f"{seed}-{number}"), self._made, self._over)
            for number in range(clients)
        ]

    def start(self) -> None:
        """Begin to ask."""
        for client in self._clients:
            client.start()

    def stop(self) -> tuple[list[Told], list[str]]:
        """Ask no more; what clients were told, and what they should not have met."""
        self._over.set()
        for client in self._clients:
            client.join(2 * CALL_SECONDS)
        told = [batch for client in self._clients for batch in client.told]
        return told, [line for client in self._clients for line in client.problems]


class _Client(threading.Thread):
    def __init__(
        self,
        addresses: Sequence[str],
        chance: random.Random,
        made: list[Asked],
        over: threading.Event,
    ) -> None:
        super().__init__(name="torture-client")
        self.told: list[Told] = []
        self.problems: list[str] = []
        self._addresses = addresses
        self._chance = chance
        self._made = made
        self._over = over
        self._services: list[calls.Service] = []

    def run(self) -> None:
        channels = [connect(address) for address in self._addresses]
        self._services = [calls.Service(channel) for channel in channels]
        try:
            while not self._over.is_set():
                self._until_told([self._asked() for _ in range(self._chance.randint(1, 6))])
        except Exception as error:  # noqa: BLE001 - told in the end
            self.problems.append(f"WRONG: a client met {error!r}")
        finally:
            for channel in channels:
                channel.close()

    def _asked(self) -> Asked:
        if self._made and self._chance.random() < 0.4:
            return self._chance.choice(self._made)
        return Asked(
            mode=self._chance.choices((Mode.WORK, Mode.FAIL, Mode.ONCE), (8, 1, 1))[0],
            x=self._chance.randrange(1_000_000),
            n=self._chance.randrange(1_000_000),
            lines=self._chance.choice((1, 40)),
            milliseconds=self._chance.choice((0, 0, 0, 0, 100, 700, 3000)),
        )

    def _until_told(self, asked: Sequence[Asked]) -> None:
        """Ask, again and again, until somebody has acknowledged it or all is over."""
        form = self._chance.choice((self._resolved, self._finished, self._streamed))
        while not self._over.is_set():
            service = self._chance.choice(self._services)
            try:
                for content in {each.content for each in asked}:
                    service.upload(content)
                form(service, asked)
            except grpc.RpcError as error:
                code = error.code()
                if code not in _PASSING:
                    self.problems.append(f"WRONG: a call met {code.name}: {error.details()}")
            else:
                self._made += asked
                return
            self._over.wait(_PAUSE_SECONDS)

    def _resolved(self, service: calls.Service, asked: Sequence[Asked]) -> None:
        answer = service.simulate(*_configs(asked), timeout=CALL_SECONDS)
        self._keep(answer.batch_id, asked, rows(answer.results))

    def _finished(self, service: calls.Service, asked: Sequence[Asked]) -> None:
        answer = service.simulate(*_configs(asked), finished=True, timeout=CALL_SECONDS)
        self._keep(answer.batch_id, asked, rows(answer.results))

    def _streamed(self, service: calls.Service, asked: Sequence[Asked]) -> None:
        """What was told before the stream broke counts, too."""
        batch_id, told = "", dict[int, Row]()
        try:
            for event in service.stream(*_configs(asked), timeout=CALL_SECONDS):
                batch_id = event.accepted.batch_id or batch_id
                told |= rows([event.result] if event.HasField("result") else [])
        finally:
            if batch_id:
                self._keep(batch_id, asked, told)

    def _keep(self, batch_id: str, asked: Sequence[Asked], rows: Mapping[int, Row]) -> None:
        self.told.append(Told(batch_id=batch_id, asked=tuple(asked), rows=rows))


def found(service: calls.Service, told: Sequence[Told]) -> Found:
    """Ask for all that is known once it has ended, or had the time to.

    That is more than what was acknowledged: a server may have died between the two.
    """
    with contextlib.suppress(AssertionError):  # the verdict tells what has not ended
        live_server.wait_for(
            lambda: all(job.status in calls.TERMINAL for job in _jobs(service)),
            "all jobs to end",
            seconds=END_SECONDS,
        )
    batches = {}
    for batch_id in (batch.batch_id for batch in told):
        results = _results(service, batch_id)
        if results is not None:
            batches[batch_id] = [_row(each) for each in results]
    attempts = {
        Run(job.job_id, one.attempt): Attempt(
            status=one.status, exit_code=one.exit_code if one.HasField("exit_code") else None
        )
        for job in list(_jobs(service))
        for one in service.job(job.job_id).attempts
    }
    hashes = {row.output_hash for rows in batches.values() for row in rows} - {""}
    broken = {each for each in hashes if not _is_intact(service, each)}
    return Found(batches=batches, attempts=attempts, broken=broken)


def _jobs(service: calls.Service) -> Iterator[job_service_pb2.Job]:
    asked = job_service_pb2.ListJobsRequest()
    while True:
        page = service.jobs.ListJobs(asked, timeout=CALL_SECONDS)
        yield from page.jobs
        if not page.next_page_token:
            return
        asked.page_token = page.next_page_token


def _is_intact(service: calls.Service, output_hash: str) -> bool:
    try:
        return site.hash_of(service.download(output_hash)) == output_hash
    except grpc.RpcError:
        return False


def _results(service: calls.Service, batch_id: str) -> Sequence[types_pb2.MultiJobResult] | None:
    """The rows of a batch, which are few; None when nobody knows it."""
    request = batch_service_pb2.ListBatchResultsRequest(batch_id=batch_id)
    try:
        return service.batches.ListBatchResults(request, timeout=CALL_SECONDS).results
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return None


def ended(service: calls.Service, batch_id: str) -> dict[int, Row]:
    """The rows of a batch that have ended."""
    return rows(_results(service, batch_id) or ())


def rows(results: Sequence[types_pb2.MultiJobResult]) -> dict[int, Row]:
    """What is told of rows that have ended."""
    return {each.index: _row(each) for each in results if each.new_status in calls.TERMINAL}


def _row(told: types_pb2.MultiJobResult) -> Row:
    return Row(
        job_id=told.job_id,
        status=told.new_status,
        attempt=told.attempt,
        output_hash=told.output_hash,
    )


def _configs(asked: Sequence[Asked]) -> list[types_pb2.JobConfig]:
    return [each.config() for each in asked]
