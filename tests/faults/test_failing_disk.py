"""A disk that fails at the n-th call: nobody dies of it, nobody lies, all goes on afterwards."""

import dataclasses
import errno
import pathlib
import signal
from collections.abc import Iterator

import grpc
import pytest

from dshpc.v1 import types_pb2
from support import (
    calls,
    fault_load,
    fault_runner,
    fault_scenario,
    fault_shim,
    fault_tally,
    fault_verdict,
    live_server,
    site,
)
from support.fault_shim import Call
from support.fault_tally import Asked, Mode

FLAGS: dict[str, object] = {
    "inline_output_bytes": fault_scenario.INLINE_OUTPUT_BYTES,
    "retry_first_seconds": 0.1,
    "min_free_bytes": 0,
}
SAID = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
"""What a call may say of a disk that does not take what it is given."""
NAMING = Call.RENAME | Call.LINK
KINDS = (Call.WRITE, Call.PWRITE, Call.FSYNC, Call.FDATASYNC, NAMING)
FIRST = (1, 2, 4, 7, 12)
"""Which call fails; a round of asking has about 30 of the kind that is most frequent."""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fault_shim.Shim]:
    with fault_shim.built(tmp_path_factory.mktemp("shim")) as shim:
        yield shim


@dataclasses.dataclass
class Story:
    """Rounds of asking on one data folder, and what was told in them."""

    folder: pathlib.Path
    tally: fault_tally.Tally
    told: list[fault_verdict.Told] = dataclasses.field(default_factory=list)
    uploaded: list[str] = dataclasses.field(default_factory=list)
    rounds: int = 0

    @property
    def methods_dir(self) -> pathlib.Path:
        return self.folder / "methods"

    @property
    def data_dir(self) -> pathlib.Path:
        return self.folder / "data"

    def next_round(self) -> None:
        """Ask for something new from here on."""
        self.rounds += 1

    def ask(self, service: calls.Service) -> bool:
        """Ask for this round's jobs; whether all came through. What fails has to say so."""
        asked = [self._asked(lines=lines) for lines in (1, 40)]
        try:
            self.uploaded.append(service.upload(asked[0].content))
            answer = service.simulate(*(each.config() for each in asked), finished=True)
        except grpc.RpcError as error:
            if error.code() not in SAID:
                raise
            return False
        rows = fault_load.rows(answer.results)
        self.told.append(fault_verdict.Told(batch_id=answer.batch_id, asked=asked, rows=rows))
        return True

    def problems(self, service: calls.Service, *, rounds_lost: int = 0) -> list[str]:
        """What was lost, doubled or wrong."""
        for file_hash in self.uploaded:
            assert site.hash_of(service.download(file_hash)) == file_hash
        found = fault_load.found(service, self.told)
        kills = fault_verdict.Kills(servers=0, runners=rounds_lost, attempts_at_once=2)
        return fault_verdict.problems(self.told, found, self.tally.counts(), kills)

    def _asked(self, *, lines: int) -> Asked:
        return Asked(mode=Mode.WORK, x=self.rounds, n=lines, lines=lines, milliseconds=0)


@pytest.fixture
def story(tmp_path: pathlib.Path) -> Story:
    tally = fault_tally.Tally(tmp_path / "outside")
    tally.install(tmp_path / "methods")
    return Story(folder=tmp_path, tally=tally)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
def test_whichever_call_of_a_server_fails_it_says_so_and_goes_on(
    shim: fault_shim.Shim, story: Story, error: int
) -> None:
    failed = dict.fromkeys(KINDS, 0)
    with live_server.as_process(
        story.folder, story.methods_dir, shim.environment, **FLAGS
    ) as server:
        with grpc.insecure_channel(server.address) as channel:
            service = calls.Service(channel)
            for call in KINDS:
                for first in FIRST:
                    story.next_round()
                    with shim.failing(call, below=story.data_dir, error=error, first=first):
                        story.ask(service)
                    failed[call] += shim.failed
                    assert story.ask(service), f"after {call!r} {first}"
                    if not shim.failed:
                        break
        server.stop(signal.SIGKILL)
    assert all(failed.values()), failed
    # What it said is on the disk, too.
    with (
        live_server.as_process(story.folder, story.methods_dir, **FLAGS) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        assert story.problems(calls.Service(channel)) == []


def test_a_server_whose_disk_takes_nothing_refuses_and_is_well_when_it_does(
    shim: fault_shim.Shim, story: Story
) -> None:
    with (
        live_server.as_process(
            story.folder, story.methods_dir, shim.environment, **FLAGS
        ) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        assert story.ask(service)
        with shim.failing(fault_shim.ALL, below=story.data_dir, error=errno.ENOSPC, times=0):
            # What is known is told; what would have to be written is refused.
            assert service.download(story.uploaded[0])
            story.next_round()
            for _ in range(3):
                assert not story.ask(service)
        assert story.ask(service)
        assert story.problems(service) == []


@pytest.mark.parametrize(
    ("call", "first"),
    [
        pytest.param(Call.PWRITE, 30, id="pwrite"),
        pytest.param(Call.FDATASYNC, 4, id="fdatasync"),
        pytest.param(Call.FSYNC, 2, id="fsync"),
        pytest.param(NAMING, 2, id="rename or link"),
    ],
)
def test_a_server_that_dies_in_a_call_leaves_nothing_half_done(
    shim: fault_shim.Shim, story: Story, call: Call, first: int
) -> None:
    with live_server.as_process(
        story.folder, story.methods_dir, shim.environment, **FLAGS
    ) as server:
        with (
            grpc.insecure_channel(server.address) as channel,
            shim.failing(call, below=story.data_dir, error=None, first=first),
        ):
            service = calls.Service(channel)
            while story.ask(service):
                story.next_round()
        assert server.process.wait(live_server.STOP_SECONDS) == -signal.SIGKILL
    with (
        live_server.as_process(story.folder, story.methods_dir, **FLAGS) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        assert story.ask(service)
        assert story.problems(service) == []


def test_a_runner_without_room_for_an_end_keeps_it_until_there_is(
    shim: fault_shim.Shim, story: Story
) -> None:
    runner = fault_runner.start(fault_runner.folder_of(story.data_dir), shim.environment)
    with (
        live_server.as_process(story.folder, story.methods_dir, **FLAGS) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        for call in (Call.WRITE, Call.RENAME):
            for first in (1, 2, 3):
                story.next_round()
                attempts = story.data_dir / "attempts"
                with shim.failing(call, below=attempts, error=errno.ENOSPC, first=first):
                    assert story.ask(service)
        assert story.problems(service, rounds_lost=story.rounds) == []
        assert fault_runner.pids(story.data_dir) == [runner]


def test_an_end_that_cannot_be_recorded_is_lost_and_run_again(
    shim: fault_shim.Shim, story: Story
) -> None:
    runner = fault_runner.start(fault_runner.folder_of(story.data_dir), shim.environment)
    with (
        live_server.as_process(story.folder, story.methods_dir, **FLAGS) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        attempts = story.data_dir / "attempts"
        with shim.failing(Call.RENAME, below=attempts, error=errno.EIO):
            assert story.ask(service)
        assert shim.failed == 1
        assert story.problems(service, rounds_lost=1) == []
        rows = {row.status for told in story.told for row in told.rows.values()}
        assert rows == {types_pb2.JOB_STATUS_COMPLETED}
        assert fault_runner.pids(story.data_dir) == [runner]
