"""`dshpc batch`: look at a batch that was submitted before."""

from collections.abc import Sequence

from dshpc.cli import report
from dshpc.cli.terminal import Output
from dshpc.client import Client
from dshpc.v1 import types_pb2


def results(
    client: Client,
    batch_id: str,
    output: Output,
    *,
    statuses: Sequence[types_pb2.JobStatus.ValueType],
    shows_all: bool,
) -> None:
    """Write the rows of a batch as they stand now."""
    found: report.Report = (
        report.JsonLines()
        if output is Output.JSON
        else report.Table(target=client.target, shows_all=shows_all, is_quiet=False)
    )
    for row in client.results(batch_id, statuses=statuses):
        found.take(row)
    found.finish(None, batch_id=batch_id)
