"""What every store does, asked through its port; a store's own test file says how to open it.

`StoreSuite` is everything. What is not about transactions stands in files of its own
beside this one, each named after its matter.
"""

import asyncio
from collections.abc import Callable

from contract import (
    store_suite_accepting,
    store_suite_batches,
    store_suite_cancelling,
    store_suite_chains,
    store_suite_deleting,
    store_suite_dependencies,
    store_suite_deployment,
    store_suite_failures,
    store_suite_large,
    store_suite_listing,
    store_suite_opening,
    store_suite_outputs,
    store_suite_policies,
    store_suite_questions,
    store_suite_queue,
    store_suite_requests,
    store_suite_retries,
    store_suite_runs,
    store_suite_servers,
    store_suite_usage,
    store_suite_withdrawing,
)
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store import committer
from dshpc_server.store.port import Store, Writer
from dshpc_server.store.records import Attempt, NewBatch, Row
from support import store_values as v

OpenStore = store_suite_opening.OpenStore


class _Transactions(store_suite_opening.Opened):
    def test_a_work_that_raises_leaves_nothing_and_its_neighbours_are_kept(
        self, store: Store
    ) -> None:
        def failing(writer: Writer) -> object:
            writer.accept(v.batch("bad", "bad", "shared"))
            writer.put_file(v.file_record("bad"))
            raise LookupError("after all that")

        commit = store.write(
            [_accepting(v.batch("a", "shared")), failing, _accepting(v.batch("c"))]
        )
        assert [type(answer) for answer in commit.answers] == [list, LookupError, list]
        assert [store.has_batch(batch_id) for batch_id in ("a", "bad", "c")] == [True, False, True]
        assert store.find_attempts([v.sha("bad")]) == {}
        assert store.find_file(v.sha("bad")) is None
        assert [change.key.job_id for change in commit.changes] == [v.sha("shared")]

    def test_works_see_what_those_before_them_did(self, store: Store) -> None:
        first, second = store.write(
            [_accepting(v.batch("a", "job")), _accepting(v.batch("b", "job"))]
        ).answers
        assert isinstance(first, list)
        assert isinstance(second, list)
        assert [row.outcome for row in first + second] == [
            Outcome.SUBMITTED,
            Outcome.FOUND_IN_PROGRESS,
        ]

    def test_a_commit_tells_every_change_in_order(self, store: Store) -> None:
        commit = store.write(
            [
                _accepting(v.batch("a", "x", "y", "x")),
                lambda writer: writer.claim(v.take, 1),
                lambda writer: writer.record(
                    [v.report("x", Event.STARTED), v.report("x", Event.SUCCEEDED)]
                ),
                lambda writer: writer.record([v.report("x", Event.STARTED)]),
            ]
        )
        assert [(a.key.job_id, a.status, a.revision) for a in commit.changes] == [
            (v.sha("x"), JobStatus.PENDING, 1),
            (v.sha("y"), JobStatus.PENDING, 1),
            (v.sha("x"), JobStatus.CONFIGURING, 2),
            (v.sha("x"), JobStatus.RUNNING, 3),
            (v.sha("x"), JobStatus.COMPLETED, 4),
        ]

    def test_a_question_sees_nothing_of_a_write_that_goes_on(self, store: Store) -> None:
        def asking(writer: Writer) -> list[object]:
            writer.accept(v.batch("b", "job"))
            return [store.has_batch("b"), store.find_job(v.sha("job"))]

        assert v.write(store, asking) == [False, None]
        assert store.has_batch("b")

    async def test_of_many_who_ask_for_one_new_job_at_once_one_submits_it(
        self, store: Store
    ) -> None:
        changes: list[Attempt] = []
        async with committer.Committer(store, on_changes=changes.extend) as shared:
            answers = await asyncio.gather(
                *(shared.write(_accepting(v.batch(f"b{n}", "job"))) for n in range(20))
            )
        outcomes = [row.outcome for rows in answers for row in rows]
        assert sorted(outcomes) == [Outcome.FOUND_IN_PROGRESS] * 19 + [Outcome.SUBMITTED]
        assert [change.revision for change in changes] == [1]

    def test_what_was_written_is_there_after_closing(self, open_store: OpenStore) -> None:
        store = open_store()
        v.accept(store, v.batch("b", "done", "waiting"))
        v.end(store, "done")
        rows = store.find_rows("b", first_index=0, limit=9)
        store.close()
        store.close()
        again = open_store()
        assert again.find_rows("b", first_index=0, limit=9) == rows
        again.close()


def _accepting(batch: NewBatch) -> Callable[[Writer], list[Row]]:
    return lambda writer: list(writer.accept(batch))


class StoreSuite(
    store_suite_accepting.Accepting,
    _Transactions,
    store_suite_large.AcceptingInPieces,
    store_suite_runs.Claiming,
    store_suite_runs.Recording,
    store_suite_queue.Turns,
    store_suite_queue.Priorities,
    store_suite_queue.ChangingPriorities,
    store_suite_queue.Ageing,
    store_suite_queue.SteppingOver,
    store_suite_queue.SeveralServers,
    store_suite_usage.Using,
    store_suite_cancelling.Cancelling,
    store_suite_withdrawing.Withdrawing,
    store_suite_withdrawing.WithdrawingSome,
    store_suite_failures.Limiting,
    store_suite_failures.Retriable,
    store_suite_questions.Questions,
    store_suite_requests.Naming,
    store_suite_listing.ListingJobs,
    store_suite_batches.Stamping,
    store_suite_batches.StatesOfRows,
    store_suite_batches.EndedByThemselves,
    store_suite_batches.Tallies,
    store_suite_batches.ListingBatches,
    store_suite_outputs.Files,
    store_suite_outputs.Outputs,
    store_suite_deleting.Deleting,
    store_suite_deleting.DeletingInTwoPhases,
    store_suite_deleting.Unused,
    store_suite_policies.Refreshing,
    store_suite_policies.Bypassing,
    store_suite_policies.RunningNothing,
    store_suite_policies.CountingFailures,
    store_suite_policies.Previewing,
    store_suite_retries.Retrying,
    store_suite_retries.WaitingForRetries,
    store_suite_chains.ShowingChains,
    store_suite_servers.Joining,
    store_suite_servers.Owning,
    store_suite_servers.TakingOver,
    store_suite_dependencies.Waiting,
    store_suite_dependencies.Skipping,
    store_suite_dependencies.Releasing,
    store_suite_dependencies.Needing,
    store_suite_deployment.Deployed,
):
    """All of it."""
