"""Jobs of a batch file that refer to each other: what is sent, and what cannot be meant."""

import json
import pathlib

import pytest
from google.protobuf import json_format

from dshpc.cli import batch_file
from dshpc.cli.batch import Batch
from dshpc.cli.fields import BatchFileError

HASH = "0123456789abcdef" * 4


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(name)
    return tmp_path


def parse(text: str, folder: pathlib.Path = pathlib.Path()) -> Batch:
    return batch_file.parse(text, folder=folder)


def sent(batch: Batch, member: str) -> list[object]:
    hashes = {path: f"hash of {path.name}" for path in batch.paths()}
    found = [json_format.MessageToDict(row.config(hashes)) for row in batch.rows]
    return [config.get(member) for config in found]


def test_a_job_waits_for_others_by_their_names_or_ids() -> None:
    batch = parse(
        f"""
        jobs:
          - {{method: m, config_id: last, depends_on: first}}
          - {{method: m, config_id: first}}
          - method: m
            depends_on:
              - first
              - {{job: last, condition: failed}}
              - {{job_id: {HASH}, condition: finished}}
        """
    )

    assert sent(batch, "dependsOn") == [
        [{"configId": "first"}],
        None,
        [
            {"configId": "first"},
            {"configId": "last", "condition": "CONDITION_FAILED"},
            {"jobId": HASH, "condition": "CONDITION_FINISHED"},
        ],
    ]


def test_the_output_of_a_job_is_an_input() -> None:
    batch = parse(
        f"""
        jobs:
          - {{method: m, config_id: up}}
          - {{method: m, inputs: {{input: {{job: up}}}}}}
          - {{method: m, inputs: {{left: {{job_id: {HASH}}}, right: {{file_hash: {HASH}}}}}}}
        """
    )

    assert sent(batch, "inputs") == [
        None,
        {"input": {"jobOutput": {"configId": "up"}}},
        {"left": {"jobOutput": {"jobId": HASH}}, "right": {"fileHash": HASH}},
    ]


def test_sweeps_refer_to_each_other_row_by_row() -> None:
    batch = parse(
        """
        jobs:
          - {method: m, config_id: up, sweep: {axes: {a: [1, 2]}}}
          - method: m
            inputs: {x: {job: up, per_sweep_index: true}}
            depends_on: [{job: up, per_sweep_index: true, condition: succeeded}]
            sweep: {axes: {b: {start: 1, stop: 2, count: 2}}}
          - {method: m, depends_on: [up]}
        """
    )

    assert sent(batch, "inputs")[1] == {
        "x": {"jobOutput": {"configId": "up", "perSweepIndex": True}}
    }
    assert sent(batch, "dependsOn")[1:] == [
        [{"configId": "up", "condition": "CONDITION_SUCCEEDED", "perSweepIndex": True}],
        [{"configId": "up"}],
    ]


def test_the_wire_form_is_read_in_both_spellings() -> None:
    jobs = [
        {"methodName": "m", "configId": "up"},
        {
            "methodName": "m",
            "inputs": {"x": {"jobOutput": {"configId": "up"}}, "y": {"jobOutput": {"jobId": HASH}}},
            "dependsOn": [{"configId": "up", "condition": "CONDITION_FINISHED"}],
            "priority": -7,
        },
    ]

    batch = parse(json.dumps({"jobs": jobs}))

    found = [json_format.MessageToDict(row.config({})) for row in batch.rows]
    assert found == jobs


def test_a_pattern_is_one_job_for_each_file_and_its_name_stands_for_all(
    folder: pathlib.Path,
) -> None:
    (folder / "deeper").mkdir()
    (folder / "deeper" / "a.csv").write_text("another")
    batch = parse(
        """
        jobs:
          - {method: m, config_id: clean, file: "**/*.csv", parameters: {x: 1}}
          - {method: m, file: "[ab].csv"}
          - {method: m, config_id: one, inputs: {x: {job: clean/b.csv}}}
          - {method: m, config_id: all, depends_on: [clean]}
        """,
        folder,
    )

    assert sent(batch, "configId") == [
        *("clean/a.csv", "clean/b.csv", "clean/a.csv/2"),
        *("m/a.csv", "m/b.csv"),
        *("one", "all"),
    ]
    assert sent(batch, "fileHash")[:3] == ["hash of a.csv", "hash of b.csv", "hash of a.csv"]
    assert [row.parameters is not None for row in batch.rows[:4]] == [True, True, True, False]
    assert sent(batch, "dependsOn")[-1] == [
        {"configId": "clean/a.csv"},
        {"configId": "clean/b.csv"},
        {"configId": "clean/a.csv/2"},
    ]


def test_rows_of_a_matrix_wait_and_are_waited_for(folder: pathlib.Path) -> None:
    batch = parse(
        """
        jobs:
          - {method: m, config_id: first}
          - {method: m, depends_on: [s/a/1]}
        matrix: [{method: s, files: ["*.csv"], depends_on: [first], priority: 5}]
        """,
        folder,
    )

    assert sent(batch, "dependsOn") == [
        None,
        [{"configId": "s/a/1"}],
        [{"configId": "first"}],
        [{"configId": "first"}],
    ]
    assert sent(batch, "priority") == [None, None, 5, 5]


@pytest.mark.parametrize(
    ("jobs", "problem"),
    [
        ("{depends_on: [clen]}", "jobs[0].depends_on[0]: no job of this batch is called 'clen'"),
        (
            "{config_id: clean}, {depends_on: [{job: clen}]}",
            "jobs[1].depends_on[0]: no job of this batch is called 'clen'; did you mean 'clean'?",
        ),
        ("{inputs: {x: {job: up}}}", "jobs[0].inputs.x: no job of this batch is called 'up'"),
        ("{depends_on: 7}", "jobs[0].depends_on: must be a list, not a number"),
        ("{depends_on: []}", "jobs[0].depends_on: must not be empty"),
        ("{depends_on: [7]}", "jobs[0].depends_on[0]: must be a mapping, not a number"),
        ("{depends_on: [{condition: failed}]}", "depends_on[0]: give 'job' (a config_id of this"),
        ("{depends_on: [{job: a, job_id: b}]}", "depends_on[0].job_id: not together with 'job'"),
        ("{depends_on: [{job_id: b}]}", "jobs[0].depends_on[0].job_id: must be a SHA-256"),
        ("{depends_on: [{job: a, when: b}]}", "jobs[0].depends_on[0].when: unknown key; known:"),
        (
            "{config_id: a}, {depends_on: [{job: a, condition: done}]}",
            "jobs[1].depends_on[0].condition: must be one of succeeded, failed, finished",
        ),
        ("{inputs: {x: {job: a, condition: failed}}}", "jobs[0].inputs.x.condition: unknown key"),
        ("{inputs: {x: {job_output: a}}}", "jobs[0].inputs.x.job_output: must be a mapping"),
        ("{inputs: {x: {job_output: {}, job: a}}}", "inputs.x: 'job_output' stands alone"),
        (
            f"{{depends_on: [{{job_id: {HASH}, per_sweep_index: true}}]}}",
            "jobs[0].depends_on[0]: per_sweep_index needs a job of this batch",
        ),
        (
            "{config_id: a}, {depends_on: [{job: a, per_sweep_index: true}]}",
            "jobs[1].depends_on[0]: per_sweep_index goes from sweep to sweep; 'a' is none",
        ),
        (
            (
                "{config_id: a, sweep: {axes: {x: [1]}}}, "
                "{inputs: {y: {job: a, per_sweep_index: true}}}"
            ),
            "jobs[1].inputs.y: per_sweep_index goes from sweep to sweep; this job is none",
        ),
        (
            (
                "{config_id: a, sweep: {axes: {x: [1, 2]}}}, "
                "{depends_on: [{job: a, per_sweep_index: true}], sweep: {axes: {x: [1, 2, 3]}}}"
            ),
            "per_sweep_index needs sweeps of as many rows: 'a' has 2, this job has 3",
        ),
        (
            "{config_id: a, sweep: {axes: {x: [1, 2]}}}, {inputs: {y: {job: a}}}",
            "jobs[1].inputs.y: 'a' is a sweep of 2 rows: per_sweep_index, and a sweep of as many",
        ),
        ("{config_id: a, depends_on: [a]}", "jobs[0].depends_on[0]: jobs wait for each other: a"),
        (
            (
                "{config_id: a, depends_on: [b]}, {config_id: c, depends_on: [a]}, "
                "{config_id: b, inputs: {x: {job: c}}}"
            ),
            "jobs wait for each other: ",
        ),
        ("{priority: 101}", "jobs[0].priority: must be a whole number from -100 to 100"),
    ],
)
def test_what_cannot_be_meant_is_named_with_its_place(jobs: str, problem: str) -> None:
    text = "jobs: [" + jobs.replace("{config_id", "{method: m, config_id") + "]"
    text = text.replace("{depends", "{method: m, depends").replace("{inputs", "{method: m, inputs")
    text = text.replace("{priority", "{method: m, priority")

    with pytest.raises(BatchFileError) as caught:
        parse(text)

    assert problem in str(caught.value)


def test_a_circle_is_told_in_the_order_of_waiting() -> None:
    text = """
        jobs:
          - {method: m, config_id: a, depends_on: [b]}
          - {method: m, config_id: b, inputs: {x: {job: c}}}
          - {method: m, config_id: c, depends_on: [a]}
    """

    with pytest.raises(BatchFileError) as caught:
        parse(text)

    circle = str(caught.value).rpartition(": ")[2]
    assert circle in ("a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c")


def test_a_long_chain_is_no_circle() -> None:
    jobs = [{"method": "m", "config_id": "0"}]
    jobs += [{"method": "m", "config_id": str(n), "depends_on": str(n - 1)} for n in range(1, 5000)]

    assert len(parse(json.dumps({"jobs": jobs})).rows) == 5000


def test_an_input_of_one_of_several_jobs_needs_its_whole_name(folder: pathlib.Path) -> None:
    text = """
        jobs:
          - {method: m, config_id: clean, file: "*.csv"}
          - {method: m, inputs: {x: {job: clean}}}
    """

    with pytest.raises(BatchFileError) as caught:
        parse(text, folder)

    assert str(caught.value) == (
        "4:34: jobs[1].inputs.x: 'clean' is 2 jobs, and an input is the output of one: "
        "clean/a.csv, clean/b.csv"
    )
    (folder / "b.csv").unlink()
    assert sent(parse(text, folder), "inputs")[1] == {
        "x": {"jobOutput": {"configId": "clean/a.csv"}}
    }
