"""Where the rows of a batch stand, counted from results as they come. Pure."""

from dshpc.client import statuses
from dshpc.v1 import types_pb2

_ON_A_SLOT = frozenset({types_pb2.JOB_STATUS_RUNNING, types_pb2.JOB_STATUS_COMPLETING})
_ENDED_WITHOUT_A_JOB = frozenset(
    {types_pb2.OUTCOME_REJECTED, types_pb2.OUTCOME_NOT_FOUND, types_pb2.OUTCOME_WITHHELD}
)


def has_ended(result: types_pb2.MultiJobResult) -> bool:
    """Whether a row can change no more."""
    if result.new_status == types_pb2.JOB_STATUS_UNSPECIFIED:
        return result.outcome in _ENDED_WITHOUT_A_JOB
    return result.new_status not in statuses.IN_PROGRESS


class Tally:
    """Counts over the rows seen so far. A row that has ended is never counted again."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.completed = 0
        self.failed = 0
        """Rows that ended in any other way: rejected and cancelled ones included."""
        self._ended: set[int] = set()
        self._running: set[int] = set()

    @property
    def done(self) -> int:
        """Rows that have ended."""
        return len(self._ended)

    @property
    def running(self) -> int:
        """Rows whose process runs, as far as the server told."""
        return len(self._running)

    def take(self, result: types_pb2.MultiJobResult) -> bool:
        """Count a row; whether it has just ended."""
        if result.index in self._ended:
            return False
        self._running.discard(result.index)
        if not has_ended(result):
            if result.new_status in _ON_A_SLOT:
                self._running.add(result.index)
            return False
        self._ended.add(result.index)
        if result.new_status == types_pb2.JOB_STATUS_COMPLETED:
            self.completed += 1
        else:
            self.failed += 1
        return True
