"""Dependencies: which rows of a request wait for which, and what an end means for those who wait.

Configs refer to each other by their names, anywhere in the request. A name stands for all rows that
its config makes, or, for each row of a sweep, for the one row of its own place in another sweep.
Promises: what names nobody, or waits for itself, by whatever detour, is found before anything is
accepted; a row is skipped as soon as one of its conditions can no longer be met, and so on down,
and no row is skipped for another reason.
"""

import collections
import dataclasses
import enum
from collections.abc import Collection, Iterator, Mapping, Sequence

from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus, Outcome

MAX_LINKS = 200_000
"""Of all rows of a request together: so many times one row may wait for another."""
_MAX_TOLD_IN_CYCLE = 10


class Condition(enum.StrEnum):
    """How what is waited for has to have ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    FINISHED = "FINISHED"
    """In whatever way; also when there was no job to run."""


class State(enum.StrEnum):
    """How a dependency stands."""

    WAITING = "WAITING"
    MET = "MET"
    UNMET = "UNMET"
    """It can never be met any more."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A config's word that it comes after another one of the same request."""

    config_id: str
    condition: Condition = Condition.SUCCEEDED
    per_sweep_index: bool = False
    """Each row waits for the row of its own place alone."""
    input_name: str = ""
    """The input that the other's output becomes; empty when it only has to have ended."""
    field: str
    """Where it stands in its config, as the request spells it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """A config of a request, as far as others refer to it, and it to them."""

    config_id: str
    rows: range
    """The indexes of its rows."""
    references: Sequence[Reference] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A reference that cannot be followed."""

    config_index: int
    field: str
    description: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """One row that waits for another row of its batch."""

    row: int
    position: int
    """Of the dependency among those of its row."""
    upstream: int
    condition: Condition


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """How a row has ended."""

    outcome: Outcome
    status: JobStatus | None
    """None when there was no job to run."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Fates:
    """What follows for a batch from what has ended in it."""

    met: Sequence[Link]
    unmet: Mapping[int, Link]
    """The rows that are to be skipped, each with what it would have needed, and behind that."""


SKIPPED = End(outcome=Outcome.WITHHELD, status=JobStatus.SKIPPED)


def state(condition: Condition, outcome: Outcome, status: JobStatus | None) -> State:
    """Whether a condition is met by a row (or job) as it stands."""
    if outcome is Outcome.PENDING or status in job.IN_PROGRESS:
        return State.WAITING
    match condition:
        case Condition.FINISHED:
            is_met = True
        case Condition.SUCCEEDED:
            is_met = status is JobStatus.COMPLETED
        case Condition.FAILED:
            is_met = status in job.FAILED
    return State.MET if is_met else State.UNMET


def fates(ended: Mapping[int, End], waiting: Collection[Link]) -> Fates:
    """Return what follows from these ends for those who wait, and from that for others."""
    by_upstream: dict[int, list[Link]] = collections.defaultdict(list)
    for link in waiting:
        by_upstream[link.upstream].append(link)
    ends = collections.deque(ended.items())
    met: list[Link] = []
    unmet: dict[int, Link] = {}
    while ends:
        upstream, end = ends.popleft()
        for link in by_upstream.pop(upstream, ()):
            if link.row in unmet:
                continue
            if state(link.condition, end.outcome, end.status) is State.MET:
                met.append(link)
            else:
                unmet[link.row] = link
                ends.append((link.row, SKIPPED))
    return Fates(met=[link for link in met if link.row not in unmet], unmet=unmet)


def with_needed(rows: Collection[int], upstreams: Mapping[int, Collection[int]]) -> set[int]:
    """Return these rows and those that they wait for, and so on up.

    `upstreams` has the rows that may come along, each with those that it waits for.
    """
    found = set(rows)
    left = list(found)
    while left:
        for upstream in upstreams.get(left.pop(), ()):
            if upstream in upstreams and upstream not in found:
                found.add(upstream)
                left.append(upstream)
    return found


def problems(configs: Sequence[Config]) -> list[Problem]:
    """Return what is wrong with the references of a request; empty when they can be followed."""
    by_name = _by_name(configs)
    found = [
        problem
        for index, config in enumerate(configs)
        for reference in config.references
        for problem in _problems_of(index, config, reference, by_name.get(reference.config_id))
    ]
    return found or list(_cycle_problem(configs, {name: i for name, (i, _) in by_name.items()}))


def upstream_rows(reference: Reference, sweep_index: int, upstream: range) -> range:
    """Return the rows of another config that one row of a config waits for."""
    if reference.per_sweep_index:
        return upstream[sweep_index : sweep_index + 1]
    return upstream


def count_links(configs: Sequence[Config]) -> int:
    """Return how many times one row waits for another, by arithmetic alone."""
    by_name = _by_name(configs)
    return sum(
        len(config.rows) * (1 if each.per_sweep_index else len(by_name[each.config_id][1].rows))
        for config in configs
        for each in config.references
    )


def _by_name(configs: Sequence[Config]) -> dict[str, tuple[int, Config]]:
    return {each.config_id: (i, each) for i, each in enumerate(configs) if each.config_id}


def _problems_of(
    index: int, config: Config, reference: Reference, found: tuple[int, Config] | None
) -> Iterator[Problem]:
    """Yield what is wrong with one reference, for itself."""

    def problem(description: str) -> Problem:
        return Problem(config_index=index, field=reference.field, description=description)

    if found is None:
        yield problem(f"no config of this request has the config_id '{reference.config_id}'")
        return
    rows, of_other = len(config.rows), len(found[1].rows)
    if reference.per_sweep_index and rows != of_other:
        yield problem(
            f"per_sweep_index needs as many rows in both configs: {rows} here,"
            f" {of_other} of '{reference.config_id}'"
        )
    if reference.input_name and not reference.per_sweep_index and of_other != 1:
        yield problem(
            f"'{reference.config_id}' makes {of_other} rows; which one's output is meant,"
            " per_sweep_index tells"
        )


def _cycle_problem(configs: Sequence[Config], by_name: Mapping[str, int]) -> Iterator[Problem]:
    """Yield the first cycle there is, told at the reference that closes it."""
    cycle = _cycle([[by_name[each.config_id] for each in config.references] for config in configs])
    if not cycle:
        return
    first = configs[cycle[0]]
    closing = by_name[configs[cycle[1 % len(cycle)]].config_id]
    reference = next(each for each in first.references if by_name[each.config_id] == closing)
    names = [f"'{configs[index].config_id}'" for index in cycle]
    if len(names) > _MAX_TOLD_IN_CYCLE:
        left_out = len(names) - _MAX_TOLD_IN_CYCLE
        names[_MAX_TOLD_IN_CYCLE:] = [f"... {left_out} more ..."]
    yield Problem(
        config_index=cycle[0],
        field=reference.field,
        description="waits for itself: " + " waits for ".join([*names, names[0]]),
    )


def _cycle(upstreams: Sequence[Sequence[int]]) -> list[int]:
    """Return nodes that wait for each other in a circle, each for the next; empty for none.

    A walk with a stack of its own: chains may be as long as a request has configs.
    """
    entered, left = 1, 2
    seen = [0] * len(upstreams)
    for start in range(len(upstreams)):
        if seen[start]:
            continue
        path, walks = [start], [iter(upstreams[start])]
        seen[start] = entered
        while walks:
            following = next(walks[-1], None)
            if following is None:
                seen[path.pop()] = left
                walks.pop()
            elif seen[following] == entered:
                return path[path.index(following) :]
            elif not seen[following]:
                seen[following] = entered
                path.append(following)
                walks.append(iter(upstreams[following]))
    return []
