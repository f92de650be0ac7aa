"""What is retried of a batch, and what each of its rows comes after in the new one.

Promises: the rows that ended and are not COMPLETED are retried, and of those that still wait for
others each that one of them needs. Whatever a row came after it comes after again: after the new
row where that is retried as well, else after the run that the old one has. A known job is waited
for in the run that was meant before if that has COMPLETED, since a result counts for good, else in
the newest one there is.

For worker threads: it takes a while for many rows.
"""

from collections.abc import Collection, Mapping, Sequence

from dshpc_server.batches import request
from dshpc_server.domain import dependencies
from dshpc_server.domain.job import AttemptKey
from dshpc_server.store import records
from dshpc_server.store.undecided import Dependency


class Retried:
    """The rows of a batch that go into the new one."""

    def __init__(self, found: Sequence[records.RetriableRow]) -> None:
        """`found` are all that can be retried, by index."""
        self.rows = _chosen(found)
        self._places = {row.index: place for place, row in enumerate(self.rows)}
        after = [each for row in self.rows for each in row.dependencies]
        self.others = set(_rows(after)) - self._places.keys()
        """The rows that some of these come after, and that are not among them."""
        self.chains = {each.upstream_chain for each in after if each.upstream_chain is not None}
        """The runs that some of these come after."""

    def upstreams(
        self, others: Sequence[records.RowState], completed: Collection[AttemptKey]
    ) -> Sequence[Sequence[request.Upstream]]:
        """Return what each row comes after in the new batch.

        `others` tells how those rows stand, `completed` which of those runs have COMPLETED.
        """
        runs = {each.index: each.chain for each in others if each.chain is not None}
        return [
            [self._upstream(each, runs, completed) for each in row.dependencies]
            for row in self.rows
        ]

    def _upstream(
        self,
        old: Dependency,
        runs: Mapping[int, records.Chain],
        completed: Collection[AttemptKey],
    ) -> request.Upstream:
        rows, job_id, chain = range(0), "", None
        if old.upstream_chain is not None:
            job_id = old.upstream_chain.job_id
            if old.upstream_chain in completed:
                chain = old.upstream_chain.number
        elif old.upstream_index in self._places:
            place = self._places[old.upstream_index]
            rows = range(place, place + 1)
        elif old.upstream_index is not None:
            job_id, chain = runs[old.upstream_index]
        return request.Upstream(
            rows=rows,
            job_id=job_id,
            chain=chain,
            condition=old.condition,
            input_name=old.input_name,
            name=old.upstream_name,
        )


def jobs(upstreams: Sequence[Sequence[request.Upstream]]) -> set[str]:
    """Return the jobs that are waited for in their newest run."""
    return {
        each.job_id for of_row in upstreams for each in of_row if each.job_id and each.chain is None
    }


def _chosen(found: Sequence[records.RetriableRow]) -> Sequence[records.RetriableRow]:
    """Return the rows that have ended, and those that they still wait for, by index."""
    upstreams = {row.index: _rows(row.dependencies) for row in found}
    indexes = dependencies.with_needed([row.index for row in found if row.has_ended], upstreams)
    return [row for row in found if row.index in indexes]


def _rows(after: Sequence[Dependency]) -> list[int]:
    return [each.upstream_index for each in after if each.upstream_index is not None]
