"""Counting rows, plain progress lines, and the words of the closing line."""

import pytest

from dshpc.cli import progress, report
from dshpc.cli.tally import Tally
from dshpc.client import UploadProgress
from dshpc.v1 import types_pb2


def row(
    index: int,
    status: types_pb2.JobStatus.ValueType,
    outcome: types_pb2.Outcome.ValueType = types_pb2.OUTCOME_SUBMITTED,
) -> types_pb2.MultiJobResult:
    return types_pb2.MultiJobResult(index=index, new_status=status, outcome=outcome)


def test_a_row_counts_once_when_it_ends() -> None:
    tally = Tally(4)

    assert not tally.take(row(0, types_pb2.JOB_STATUS_PENDING))
    assert not tally.take(row(0, types_pb2.JOB_STATUS_RUNNING))
    assert (tally.done, tally.running) == (0, 1)
    assert tally.take(row(0, types_pb2.JOB_STATUS_COMPLETED))
    assert not tally.take(row(0, types_pb2.JOB_STATUS_COMPLETED))
    assert tally.take(row(1, types_pb2.JOB_STATUS_TIMEOUT))
    assert tally.take(row(2, types_pb2.JOB_STATUS_UNSPECIFIED, types_pb2.OUTCOME_REJECTED))
    assert not tally.take(row(3, types_pb2.JOB_STATUS_UNSPECIFIED, types_pb2.OUTCOME_PENDING))

    assert (tally.done, tally.running, tally.completed, tally.failed) == (3, 0, 1, 2)


def test_every_status_but_those_in_progress_ends_a_row() -> None:
    in_progress = {"PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING", "BLOCKED"}

    for name, status in types_pb2.JobStatus.items():
        word = name.removeprefix("JOB_STATUS_")
        if word != "UNSPECIFIED":
            assert Tally(1).take(row(0, status)) == (word not in in_progress), word


def test_plain_lines_come_now_and_then_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    lines = progress.Lines(monotonic=lambda: now)
    tally = Tally(3)

    lines.uploading(UploadProgress(files_done=0, files_total=1, bytes_done=0, bytes_total=2048))
    for index in range(3):
        tally.take(row(index, types_pb2.JOB_STATUS_COMPLETED))
        lines.running(tally)
    lines.uploading(UploadProgress(files_done=1, files_total=1, bytes_done=0, bytes_total=2048))
    now += 5.0
    lines.running(tally)

    assert capsys.readouterr().err.splitlines() == [
        "uploading: 0/1 file, 0 B of 2.0 KiB",
        "1/3 jobs: 1 completed, 0 failed",
        "3/3 jobs: 3 completed, 0 failed",
        "3/3 jobs: 3 completed, 0 failed",
    ]


def test_nothing_is_shown_off_a_terminal_unless_wanted() -> None:
    def chosen(*, wanted: bool | None, is_quiet: bool = False) -> type[progress.Silent]:
        return type(progress.chosen(wanted=wanted, is_quiet=is_quiet, is_stdout_shared=False))

    assert chosen(wanted=None) is progress.Silent
    assert chosen(wanted=False) is progress.Silent
    assert chosen(wanted=True) is progress.Lines
    assert chosen(wanted=True, is_quiet=True) is progress.Silent


@pytest.mark.parametrize(
    ("statistics", "seconds", "line"),
    [
        (
            types_pb2.JobStatistics(total_jobs=84, completed_jobs=84, found_completed_jobs=84),
            0.123,
            "84 jobs: 84 completed (84 found completed) in 0.12 s",
        ),
        (
            types_pb2.JobStatistics(
                total_jobs=5,
                completed_jobs=1,
                failed_jobs=3,
                failed_submissions=1,
                submitted_jobs=3,
                resubmitted_jobs=1,
            ),
            3725,
            "5 jobs: 1 completed, 3 failed, 1 rejected (3 submitted, 1 resubmitted) in 1 h 02 min",
        ),
        (
            types_pb2.JobStatistics(total_jobs=1, in_progress_jobs=1, found_in_progress_jobs=1),
            61.4,
            "1 job: 1 in progress (1 found in progress) in 1 min 01 s",
        ),
    ],
)
def test_the_closing_line_says_how_rows_ended_and_what_was_decided(
    statistics: types_pb2.JobStatistics, seconds: float, line: str
) -> None:
    assert report.summary(statistics, seconds=seconds) == line
