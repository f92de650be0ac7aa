"""docs/job-lifecycle.md says what the lifecycle table says, no more and no less."""

import re

from dshpc_server import config
from dshpc_server.domain import job, lifecycle, lookup, retry
from dshpc_server.domain.job import JobStatus
from dshpc_server.domain.lifecycle import TRANSITIONS
from support import documents

PAGE = documents.text("docs/job-lifecycle.md")
# (the other status, the mover)
Moves = set[tuple[str, str]]


def section(status: JobStatus) -> str:
    found = re.findall(rf"^### {status}\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert len(found) == 1, f"{status} has {len(found)} headings"
    return " ".join(found[0].split())


def moves(status: JobStatus, *, line: str) -> Moves:
    """What the In or Out line of a status names."""
    (text,) = re.findall(rf"- {line}: (.*?)\.(?: -|$)", section(status))
    clauses = re.findall(r"(?:from|to) ([A-Z_, ]+) by the (\w+)", text)
    return {(other, mover) for others, mover in clauses for other in others.split(", ")}


def test_every_status_has_one_heading_and_no_other_has() -> None:
    assert sorted(re.findall(r"^### (.*)$", PAGE, re.MULTILINE)) == sorted(JobStatus)


def test_the_way_into_every_status_and_its_movers_are_those_of_the_table() -> None:
    for status in JobStatus:
        expected = {(str(t.source), str(t.mover)) for t in TRANSITIONS if t.target is status}
        assert moves(status, line="In") == expected, status


def test_the_way_out_of_every_status_and_its_movers_are_those_of_the_table() -> None:
    for status in JobStatus:
        expected = {(str(t.target), str(t.mover)) for t in TRANSITIONS if t.source is status}
        assert moves(status, line="Out") == expected, status


def test_exactly_the_terminal_statuses_are_said_to_be_left_never() -> None:
    never = {status for status in JobStatus if "- Out: never." in section(status)}
    assert never == job.TERMINAL


def test_every_status_stands_under_the_group_it_counts_in() -> None:
    parts = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)[1:]
    chapters = {
        title: set(re.findall(r"^### (.*)$", body, re.MULTILINE))
        for title, body in zip(parts[::2], parts[1::2], strict=True)
    }
    assert chapters["In progress"] == job.IN_PROGRESS
    assert chapters["Completed"] == {JobStatus.COMPLETED}
    assert chapters["Failed"] == job.FAILED
    assert chapters["Neither"] == {JobStatus.CANCELLED, JobStatus.SKIPPED}


def test_every_mover_is_introduced() -> None:
    introduced = set(re.findall(r"^- The \*(\w+)\*", PAGE, re.MULTILINE))
    assert introduced == set(lifecycle.Mover)


def test_what_is_retried_is_told_with_its_numbers() -> None:
    told = " ".join(PAGE[PAGE.index("## Retries") : PAGE.index("## Asking again")].split())
    for name in ("max_retries", "retry_first_seconds", "retry_last_seconds"):
        default = config.Settings.model_fields[name].default
        assert f"`{name}` ({default:g})" in told
    assert f"exit code {retry.RETRIABLE_EXIT_CODE}" in told
    retries = retry.Retries()
    for event in lifecycle.Event:
        target = lifecycle.target(JobStatus.RUNNING, event)
        if target is None or target not in job.FAILED:
            continue
        delay = retries.delay_seconds(event=event, exit_code=None, retries=0, chance=1.0)
        assert (delay is not None) == (str(target) in told), event
        assert (delay is not None) == ("Retried" in section(target)), target


def test_what_keeps_a_failure_is_told_with_its_numbers() -> None:
    told = PAGE[PAGE.index("## Asking again") : PAGE.index("## What is not reported today")]
    most = config.Settings.model_fields["max_attempts"].default
    hours = lookup.ATTEMPT_WINDOW.total_seconds() / 3600
    assert f"`max_attempts` failed attempts ({most}) within {hours:g} hours" in told
    assert f"exit code {lookup.PERMANENT_EXIT_CODE}" in told
    for word in (*lookup.CachePolicy, *lookup.ResubmitPolicy):
        # What is not told here keeps and runs as it does without asking for it.
        assert (word in told) == (word not in ("USE", "ALWAYS")), word
