"""How an attempt ended, in the store's terms: pure, from an engine's fact to event and reason."""

import signal
from typing import TypeAlias

from dshpc_server.domain import lookup, retry
from dshpc_server.domain.lifecycle import Event
from dshpc_server.engine import port as engine

PERMANENT_EXIT_CODE = lookup.PERMANENT_EXIT_CODE
RETRIABLE_EXIT_CODE = retry.RETRIABLE_EXIT_CODE

End: TypeAlias = engine.Exited | engine.NotStarted | engine.Lost
"""What no other fact comes after."""

_CAUSES = {
    engine.Cause.OVER_TIME: Event.OVER_TIME,
    engine.Cause.OVER_MEMORY: Event.OVER_MEMORY,
    engine.Cause.CANCELLED: Event.CANCELLED,
    engine.Cause.PREEMPTED: Event.PREEMPTED,
    engine.Cause.PAST_DEADLINE: Event.PAST_DEADLINE,
}
_ALWAYS_SO = {
    Event.SUCCEEDED: "",
    Event.PREEMPTED: "Stopped in favour of other jobs",
    Event.PAST_DEADLINE: "Stopped at its deadline, which the site has set",
}


def event(fact: engine.Exited) -> Event:
    """What an exit means. The engine's own doing counts before what the process said."""
    if fact.cause in _CAUSES:
        return _CAUSES[fact.cause]
    if fact.signal is not None:
        return Event.KILLED_BY_SIGNAL
    return Event.SUCCEEDED if fact.exit_code == 0 else Event.EXITED_NONZERO


def cancelled(cancel_reason: str | None) -> str:
    """Why a cancelled attempt did not complete, for people."""
    return f"Cancelled: {cancel_reason}" if cancel_reason else "Cancelled"


def reason(
    fact: engine.Exited,
    *,
    timeout_seconds: float,
    memory_bytes: int,
    cancel_reason: str | None = None,
) -> str:
    """Why an attempt did not complete, for people, with what the engine's scheduler says of it."""
    own = _own_reason(fact, timeout_seconds, memory_bytes, cancel_reason)
    return f"{own}: {fact.note}" if own and fact.note else own


def _own_reason(
    fact: engine.Exited, timeout_seconds: float, memory_bytes: int, cancel_reason: str | None
) -> str:
    ended = event(fact)
    if ended in _ALWAYS_SO:
        return _ALWAYS_SO[ended]
    match ended:
        case Event.OVER_TIME:
            return f"Stopped after its timeout of {timeout_seconds:g} s"
        case Event.OVER_MEMORY:
            return f"Stopped for using more than its {memory_bytes} bytes of memory"
        case Event.CANCELLED:
            return cancelled(cancel_reason)
        case Event.KILLED_BY_SIGNAL:
            return f"Killed by signal {fact.signal} ({_signal_name(fact.signal)})"
        case _:
            return f"Exit code {fact.exit_code}{_hint(fact.exit_code)}"


def _signal_name(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return "unknown"


def _hint(exit_code: int | None) -> str:
    if exit_code == RETRIABLE_EXIT_CODE:
        return " (temporary failure)"
    if exit_code == PERMANENT_EXIT_CODE:
        return " (permanent failure)"
    return ""
