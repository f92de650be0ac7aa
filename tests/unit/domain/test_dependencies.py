"""Dependencies within a request: what is found wrong, and what follows from an end."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dshpc_server.domain import dependencies, job
from dshpc_server.domain.dependencies import Condition, Config, End, Link, Reference, State
from dshpc_server.domain.job import JobStatus, Outcome

NO_JOB = [Outcome.REJECTED, Outcome.NOT_FOUND]
COMPLETED = End(outcome=Outcome.SUBMITTED, status=JobStatus.COMPLETED)
ENDS = [
    COMPLETED,
    End(outcome=Outcome.SUBMITTED, status=JobStatus.FAILED),
    End(outcome=Outcome.FAILURE_KEPT, status=JobStatus.TIMEOUT),
    End(outcome=Outcome.SUBMITTED, status=JobStatus.CANCELLED),
    End(outcome=Outcome.WITHHELD, status=JobStatus.CANCELLED),
    dependencies.SKIPPED,
    *(End(outcome=outcome, status=None) for outcome in NO_JOB),
]


def after(name: str, *, field: str = "depends_on[0]", per_sweep_index: bool = False) -> Reference:
    return Reference(config_id=name, field=field, per_sweep_index=per_sweep_index)


def configs(**upstreams: str) -> list[Config]:
    """Configs of one row each: the name of each, and the names it waits for."""
    return [
        Config(
            config_id=name,
            rows=range(index, index + 1),
            references=[
                after(upstream, field=f"depends_on[{place}]")
                for place, upstream in enumerate(names.split())
            ],
        )
        for index, (name, names) in enumerate(upstreams.items())
    ]


def told(of: list[Config]) -> list[tuple[int, str, str]]:
    return [(p.config_index, p.field, p.description) for p in dependencies.problems(of)]


@pytest.mark.parametrize("status", JobStatus)
def test_a_condition_is_met_by_the_ends_it_names(status: JobStatus) -> None:
    states = {
        condition: dependencies.state(condition, Outcome.SUBMITTED, status)
        for condition in Condition
    }
    if status in job.IN_PROGRESS:
        assert set(states.values()) == {State.WAITING}
        return
    assert states == {
        Condition.SUCCEEDED: State.MET if status is JobStatus.COMPLETED else State.UNMET,
        Condition.FAILED: State.MET if status in job.FAILED else State.UNMET,
        Condition.FINISHED: State.MET,
    }


@pytest.mark.parametrize("outcome", NO_JOB)
def test_a_row_without_a_job_has_finished_and_neither_succeeded_nor_failed(
    outcome: Outcome,
) -> None:
    states = [dependencies.state(condition, outcome, None) for condition in Condition]
    assert states == [State.UNMET, State.UNMET, State.MET]


@pytest.mark.parametrize("condition", Condition)
def test_a_row_that_waits_itself_is_waited_for(condition: Condition) -> None:
    assert dependencies.state(condition, Outcome.PENDING, JobStatus.BLOCKED) is State.WAITING


def test_references_may_be_to_configs_that_come_later() -> None:
    assert told(configs(a="c", b="a c", c="")) == []


def test_a_reference_to_nobody_is_named() -> None:
    assert told(configs(a="", b="a x")) == [
        (1, "depends_on[1]", "no config of this request has the config_id 'x'")
    ]


def test_a_config_that_waits_for_itself_is_named() -> None:
    assert told(configs(a="", b="a b")) == [
        (1, "depends_on[1]", "waits for itself: 'b' waits for 'b'")
    ]


def test_a_cycle_is_told_from_one_of_its_configs_round_to_it() -> None:
    assert told(configs(a="b", b="z c", c="d", d="b", z="")) == [
        (1, "depends_on[1]", "waits for itself: 'b' waits for 'c' waits for 'd' waits for 'b'")
    ]


def test_of_a_long_cycle_the_beginning_is_told() -> None:
    names = [f"n{i}" for i in range(50_000)]
    found = told(configs(**dict(zip(names, [*names[1:], names[0]], strict=True))))
    assert len(found) == 1
    assert found[0][2].endswith("'n9' waits for ... 49990 more ... waits for 'n0'")


def test_a_long_chain_is_no_cycle() -> None:
    names = [f"n{i}" for i in range(50_000)]
    assert told(configs(**dict(zip(names, [*names[1:], ""], strict=True)))) == []


def test_two_sweeps_go_row_by_row_only_if_they_are_as_long() -> None:
    sweep = Config(config_id="s", rows=range(3))
    twin = Config(config_id="t", rows=range(3, 6), references=[after("s", per_sweep_index=True)])
    other = Config(config_id="u", rows=range(6, 8), references=[after("s", per_sweep_index=True)])
    assert told([sweep, twin]) == []
    assert told([sweep, twin, other]) == [
        (
            2,
            "depends_on[0]",
            "per_sweep_index needs as many rows in both configs: 2 here, 3 of 's'",
        )
    ]


def test_the_output_of_one_row_of_many_is_only_told_by_its_place() -> None:
    sweep = Config(config_id="s", rows=range(3))
    taking = Reference(config_id="s", input_name="input", field="inputs.input.job_output")
    found = told([sweep, Config(config_id="", rows=range(3, 4), references=[taking])])
    assert found == [
        (
            1,
            "inputs.input.job_output",
            "'s' makes 3 rows; which one's output is meant, per_sweep_index tells",
        )
    ]


def test_a_row_waits_for_all_rows_of_a_config_or_for_that_of_its_own_place() -> None:
    upstream = range(10, 13)
    assert dependencies.upstream_rows(after("s"), 1, upstream) == upstream
    by_place = after("s", per_sweep_index=True)
    assert list(dependencies.upstream_rows(by_place, 1, upstream)) == [11]


def test_links_are_counted_without_making_them() -> None:
    sweep = Config(config_id="s", rows=range(1000))
    references = [after("s"), after("s", per_sweep_index=True)]
    all_of_all = Config(config_id="t", rows=range(1000, 2000), references=references)
    assert dependencies.count_links([sweep, all_of_all]) == 1_001_000


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    """For each node those it waits for, in any direction."""
    size = draw(st.integers(1, 8))
    return [draw(st.lists(st.integers(0, size - 1), max_size=3, unique=True)) for _ in range(size)]


def as_configs(graph: list[list[int]]) -> list[Config]:
    return configs(**{f"n{i}": " ".join(f"n{j}" for j in ups) for i, ups in enumerate(graph)})


def has_an_order(graph: list[list[int]]) -> bool:
    """Whether the nodes can be put in an order, each behind those it waits for."""
    left = dict(enumerate(graph))
    while ready := [i for i, upstreams in left.items() if not left.keys() & upstreams]:
        for i in ready:
            del left[i]
    return not left


@given(graphs())
def test_a_request_is_refused_if_and_only_if_its_configs_have_no_order(
    graph: list[list[int]],
) -> None:
    found = dependencies.problems(as_configs(graph))
    assert (not found) == has_an_order(graph)


@given(graphs())
def test_what_is_told_of_a_cycle_is_one(graph: list[list[int]]) -> None:
    for problem in dependencies.problems(as_configs(graph)):
        names = problem.description.removeprefix("waits for itself: ").split(" waits for ")
        nodes = [int(name.strip("'").removeprefix("n")) for name in names]
        assert nodes[0] == nodes[-1] == problem.config_index
        assert len(set(nodes)) == len(nodes) - 1
        assert all(b in graph[a] for a, b in itertools.pairwise(nodes))
        place = int(problem.field.removeprefix("depends_on[").removesuffix("]"))
        assert graph[nodes[0]][place] == nodes[1]


@st.composite
def waits(draw: st.DrawFn) -> tuple[dict[int, End], list[Link]]:
    """Rows that wait for earlier ones only, and how some have ended who wait for nobody."""
    size = draw(st.integers(1, 9))
    links = [
        Link(row=row, position=position, upstream=upstream, condition=condition)
        for row in range(size)
        for position, (upstream, condition) in enumerate(
            draw(
                st.lists(st.tuples(st.integers(0, row - 1), st.sampled_from(Condition)), max_size=3)
                if row
                else st.just([])
            )
        )
    ]
    free = set(range(size)) - {link.row for link in links}
    ended = {row: draw(st.sampled_from(ENDS)) for row in free if draw(st.booleans())}
    return ended, links


@given(waits())
def test_skipping_goes_down_exactly_as_far_as_it_must(
    drawn: tuple[dict[int, End], list[Link]],
) -> None:
    ended, links = drawn
    found = dependencies.fates(ended, links)
    expected: set[int] = set()
    for row in sorted({link.row for link in links}):  # those above it come first
        for link in links:
            if link.row != row:
                continue
            end = dependencies.SKIPPED if link.upstream in expected else ended.get(link.upstream)
            if end and dependencies.state(link.condition, end.outcome, end.status) is State.UNMET:
                expected.add(row)
    assert found.unmet.keys() == expected
    everything = {**ended, **dict.fromkeys(expected, dependencies.SKIPPED)}
    met = [
        link
        for link in links
        if link.row not in expected
        and (end := everything.get(link.upstream))
        and dependencies.state(link.condition, end.outcome, end.status) is State.MET
    ]
    assert sorted(found.met, key=lambda each: (each.row, each.position)) == met


@given(waits())
def test_every_skipped_row_names_what_it_would_have_needed(
    drawn: tuple[dict[int, End], list[Link]],
) -> None:
    ended, links = drawn
    told_before: set[int] = set()
    for row, link in dependencies.fates(ended, links).unmet.items():
        assert link.row == row
        assert link.upstream in told_before or link.upstream in ended
        told_before.add(row)


def test_what_rows_wait_for_comes_along_all_the_way_up() -> None:
    upstreams = {1: [0], 2: [1, 7], 3: [2, 4], 4: [], 5: [4]}
    # Nobody said what 0 and 7 wait for, so they stay.
    assert dependencies.with_needed([3], upstreams) == {1, 2, 3, 4}
    assert dependencies.with_needed([5, 1], upstreams) == {1, 4, 5}
    assert dependencies.with_needed([], upstreams) == set()


def test_a_long_chain_comes_along_as_a_whole() -> None:
    upstreams = {row: [row - 1] for row in range(100_000)}
    assert len(dependencies.with_needed([99_999], upstreams)) == 100_000
