"""The torture's verdict catches what it is there to catch: each seeded fault is told of."""

import collections
import dataclasses
from collections.abc import Callable

import pytest

from dshpc.v1 import types_pb2
from support import fault_tally, fault_verdict, site
from support.fault_tally import Asked, Mode, Run
from support.fault_verdict import Attempt, Found, Kills, Row, Told

ASKED = [
    Asked(mode=mode, x=1, n=number, lines=1, milliseconds=0)
    for number, mode in enumerate((Mode.WORK, Mode.FAIL, Mode.ONCE))
]
NO_KILLS = Kills(servers=9, runners=0, attempts_at_once=2)
WORK, FAIL, ONCE = "work", "fail", "once"


@dataclasses.dataclass
class Story:
    """A torture in which nothing went wrong, for a test to change."""

    rows: list[Row]
    told_rows: dict[int, Row]
    attempts: dict[Run, Attempt]
    starts: collections.Counter[Run]
    ends: collections.Counter[Run]
    beside: list[Run]
    kills: Kills = NO_KILLS
    broken: list[str] = dataclasses.field(default_factory=list)

    def problems(self) -> list[str]:
        return fault_verdict.problems(
            [Told(batch_id="b", asked=ASKED, rows=self.told_rows)],
            Found(
                batches={"b": self.rows} if self.rows else {},
                attempts=self.attempts,
                broken=self.broken,
            ),
            fault_tally.Counts(starts=self.starts, ends=self.ends, beside=self.beside),
            self.kills,
        )


@pytest.fixture
def story() -> Story:
    rows = [
        completed(WORK, 1, ASKED[0]),
        Row(job_id=FAIL, status=fault_verdict.FAILED, attempt=1, output_hash=""),
        completed(ONCE, 2, ASKED[2]),
    ]
    attempts = {
        Run(WORK, 1): Attempt(status=fault_verdict.COMPLETED, exit_code=0),
        Run(FAIL, 1): Attempt(status=fault_verdict.FAILED, exit_code=3),
        Run(ONCE, 1): Attempt(status=fault_verdict.FAILED, exit_code=4),
        Run(ONCE, 2): Attempt(status=fault_verdict.COMPLETED, exit_code=0),
    }
    return Story(
        rows=rows,
        told_rows={0: rows[0]},
        attempts=attempts,
        starts=collections.Counter(list(attempts)),
        ends=collections.Counter(list(attempts)),
        beside=[],
    )


def completed(job_id: str, attempt: int, asked: Asked) -> Row:
    return Row(
        job_id=job_id,
        status=fault_verdict.COMPLETED,
        attempt=attempt,
        output_hash=site.hash_of(asked.output),
    )


def test_nothing_is_said_where_nothing_went_wrong(story: Story) -> None:
    assert story.problems() == []


def test_attempts_that_died_with_the_runner_are_no_fault(story: Story) -> None:
    story.kills = Kills(servers=0, runners=1, attempts_at_once=2)
    story.attempts[Run(FAIL, 2)] = Attempt(status=fault_verdict.NODE_FAIL, exit_code=None)
    story.starts[Run(FAIL, 2)] = 1
    assert story.problems() == []


def lose_batch(story: Story) -> None:
    story.rows.clear()


def lose_row(story: Story) -> None:
    del story.rows[1]


def leave_pending(story: Story) -> None:
    story.attempts[Run(FAIL, 1)] = Attempt(status=types_pb2.JOB_STATUS_PENDING, exit_code=None)


def lose_told_end(story: Story) -> None:
    story.rows[0] = completed(WORK, 2, ASKED[0])


def lose_attempt_with_the_server(story: Story) -> None:
    story.attempts[Run(FAIL, 1)] = Attempt(status=fault_verdict.NODE_FAIL, exit_code=None)


def run_what_could_not_start(story: Story) -> None:
    story.kills = Kills(servers=0, runners=1, attempts_at_once=2)
    story.attempts[Run(WORK, 1)] = Attempt(status=fault_verdict.BOOT_FAIL, exit_code=None)


def lose_more_than_a_runner_holds(story: Story) -> None:
    story.kills = Kills(servers=0, runners=1, attempts_at_once=2)
    for number in (2, 3, 4):
        story.attempts[Run(FAIL, number)] = Attempt(status=fault_verdict.NODE_FAIL, exit_code=None)


def start_twice(story: Story) -> None:
    story.starts[Run(WORK, 1)] = 2


def run_beside(story: Story) -> None:
    story.beside.append(Run(ONCE, 2))


def run_unknown(story: Story) -> None:
    story.starts[Run(FAIL, 2)] = 1


def run_again_when_completed(story: Story) -> None:
    story.starts[Run(WORK, 2)] = story.ends[Run(WORK, 2)] = 1
    story.attempts[Run(WORK, 2)] = Attempt(status=fault_verdict.FAILED, exit_code=1)


def put_out_something_else(story: Story) -> None:
    story.rows[0] = dataclasses.replace(story.rows[0], output_hash=site.hash_of(b"0 0\n"))


def complete_what_fails(story: Story) -> None:
    story.rows[1] = completed(FAIL, 1, ASKED[1])


def fail_what_works(story: Story) -> None:
    story.rows[0] = dataclasses.replace(story.rows[0], status=fault_verdict.FAILED, output_hash="")
    story.told_rows = {}


def reject_what_was_uploaded(story: Story) -> None:
    story.rows[2] = Row(job_id="", status=0, attempt=0, output_hash="")


def lose_output(story: Story) -> None:
    story.broken.append(story.rows[0].output_hash)


def end_without_a_run(story: Story) -> None:
    del story.starts[Run(FAIL, 1)], story.ends[Run(FAIL, 1)]


def end_in_the_middle_of_a_run(story: Story) -> None:
    del story.ends[Run(WORK, 1)]


@pytest.mark.parametrize(
    ("seed", "kind"),
    [
        *((seed, "LOST") for seed in (lose_batch, lose_row, leave_pending, lose_told_end)),
        (lose_attempt_with_the_server, "LOST"),
        (lose_more_than_a_runner_holds, "LOST"),
        *((seed, "DOUBLED") for seed in (start_twice, run_beside, run_unknown)),
        (run_again_when_completed, "DOUBLED"),
        (put_out_something_else, "WRONG"),
        (run_what_could_not_start, "WRONG"),
        *((seed, "WRONG") for seed in (end_without_a_run, end_in_the_middle_of_a_run)),
        *(
            (seed, "LOST")
            for seed in (fail_what_works, complete_what_fails, reject_what_was_uploaded)
        ),
    ],
)
def test_a_seeded_fault_is_told(story: Story, seed: Callable[[Story], None], kind: str) -> None:
    seed(story)
    told = story.problems()
    assert told
    assert {line.partition(":")[0] for line in told} == {kind}
