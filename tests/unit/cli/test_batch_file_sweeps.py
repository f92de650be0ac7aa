"""A sweep in a batch file: what is sent, how many rows it is, and what is wrong with one."""

import json
import pathlib

import pytest
from google.protobuf import json_format

from dshpc.cli import batch_file, naming
from dshpc.cli.batch import Batch, Positions
from dshpc.cli.fields import BatchFileError

HASH = "0123456789abcdef" * 4


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    for name in ("a.csv", "b.csv", "notes.txt"):
        (tmp_path / name).write_text(name)
    return tmp_path


def parse(axes: str, folder: pathlib.Path = pathlib.Path(), *, more: str = "") -> Batch:
    return batch_file.parse(f"jobs: [{{method: m, sweep: {{axes: {axes}{more}}}}}]", folder=folder)


def sweep_sent(batch: Batch) -> object:
    hashes = {path: f"hash of {path.name}" for path in batch.paths()}
    return json_format.MessageToDict(batch.rows[0].config(hashes))["sweep"]


def test_axes_are_sent_in_their_order_with_their_values() -> None:
    batch = parse("{name: [x, null, 1.5], flag: [true], deep: [{a: [1]}, [2]]}")

    assert sweep_sent(batch) == {
        "axes": [
            {"parameter": "name", "values": ["x", None, 1.5]},
            {"parameter": "flag", "values": [True]},
            {"parameter": "deep", "values": [{"a": [1.0]}, [2.0]]},
        ]
    }
    assert batch.rows[0].count == 6


def test_a_range_is_left_to_the_server() -> None:
    batch = parse("{a: {start: 0.001, stop: 1, count: 4, log_scale: true}, b: [1, 2]}")

    assert sweep_sent(batch) == {
        "axes": [
            {
                "parameter": "a",
                "range": {"start": 0.001, "stop": 1.0, "count": 4, "logScale": True},
            },
            {"parameter": "b", "values": [1.0, 2.0]},
        ]
    }
    assert batch.rows[0].count == 8


def test_a_log_scale_may_be_of_numbers_whose_product_is_none() -> None:
    axis = parse("{a: {start: 1e-300, stop: 1e-200, count: 3, log_scale: true}}").rows[0].sweep
    assert axis is not None
    assert axis.count == 3


def test_axes_may_be_zipped() -> None:
    batch = parse("{a: [1, 2], b: {start: 5, stop: 1, count: 2}}", more=", mode: zip")

    assert sweep_sent(batch) == {
        "axes": [
            {"parameter": "a", "values": [1.0, 2.0]},
            {"parameter": "b", "range": {"start": 5.0, "stop": 1.0, "count": 2}},
        ],
        "mode": "SWEEP_MODE_ZIP",
    }
    assert batch.rows[0].count == 2


def test_files_are_an_axis_and_are_uploaded(folder: pathlib.Path) -> None:
    batch = parse(f"{{file: ['*.csv', {{file_hash: {HASH}}}], a: [1, 2]}}", folder)

    assert sweep_sent(batch) == {
        "axes": [
            {"parameter": "file_hash", "values": ["hash of a.csv", "hash of b.csv", HASH]},
            {"parameter": "a", "values": [1.0, 2.0]},
        ]
    }
    assert [path.name for path in batch.paths()] == ["a.csv", "b.csv"]


def test_the_wire_form_is_read_in_both_spellings() -> None:
    wire = {
        "axes": [
            {"parameter": "a", "values": [1, "x"]},
            {"parameter": "b", "range": {"start": 1, "stop": 8, "count": 4, "logScale": True}},
            {"parameter": "file_hash", "values": [HASH]},
        ],
        "mode": "SWEEP_MODE_GRID",
    }
    text = json.dumps({"jobs": [{"methodName": "m", "sweep": wire}]})

    sent = sweep_sent(batch_file.parse(text, folder=pathlib.Path(), is_json=True))

    assert sent == wire


def test_each_row_of_the_answer_is_known_by_its_file(folder: pathlib.Path) -> None:
    batch = batch_file.parse(
        """
        jobs:
          - {method: m, file: notes.txt}
          - {config_id: s, method: m, sweep: {axes: {file: "*.csv", a: [1, 2, 3]}}}
          - {method: m, sweep: {mode: zip, axes: {a: [1, 2], file: "*.csv"}}}
        """,
        folder=folder,
    )
    positions = Positions(batch.rows)

    def files_at(index: int) -> list[str]:
        found = positions.at(index)
        assert found is not None
        row, sweep_index = found
        return [pathlib.Path(source).name for source in row.sources_at(sweep_index)]

    assert [files_at(index) for index in range(9)] == [
        ["notes.txt"],
        *[["a.csv"]] * 3,
        *[["b.csv"]] * 3,
        ["a.csv"],
        ["b.csv"],
    ]
    assert positions.at(9) is None
    assert positions.at(-1) is None
    assert Positions(()).at(0) is None


@pytest.mark.parametrize(
    ("axes", "problem"),
    [
        ("3", "jobs[0].sweep.axes: must be a list, not a number"),
        ("{}", "jobs[0].sweep.axes: must not be empty"),
        ("[]", "jobs[0].sweep.axes: must not be empty"),
        ("{a: 3}", "jobs[0].sweep.axes.a: must be a list of values, or a range {start, stop"),
        ("{a: []}", "jobs[0].sweep.axes.a: must not be empty"),
        ("{a: [1, .nan]}", "jobs[0].sweep.axes.a[1]: nan is not a number that JSON has"),
        ("{a: [9007199254740993]}", "jobs[0].sweep.axes.a[0]: 9007199254740993 is over 2^53"),
        ("{a: {start: 1, stop: 2}}", "jobs[0].sweep.axes.a: 'count' is missing in the range"),
        ("{a: {start: 1, stop: 2, steps: 2}}", "jobs[0].sweep.axes.a.steps: unknown key"),
        ("{a: {start: x, stop: 2, count: 2}}", "axes.a.start: must be a number, not text"),
        ("{a: {start: true, stop: 2, count: 2}}", "axes.a.start: must be a number, not true or"),
        ("{a: {start: .inf, stop: 2, count: 2}}", "axes.a.start: inf is not a number"),
        ("{a: {start: 1, stop: 2, count: 0}}", "axes.a.count: must be a whole number from 1 to"),
        ("{a: {start: 1, stop: 2, count: 1.5}}", "axes.a.count: must be a whole number"),
        ("{a: {start: 0, stop: 2, count: 2, log_scale: true}}", "axes.a: on a log_scale start"),
        ("{a: {start: -1, stop: 2, count: 2, log_scale: true}}", "axes.a: on a log_scale start"),
        ("{a: {start: 1, stop: 2, count: 2, log_scale: 1}}", "a.log_scale: must be true or false"),
        ("{file: '*.no'}", "jobs[0].sweep.axes.file: no file matches *.no"),
        ("{file: [no.csv]}", "jobs[0].sweep.axes.file[0]: no such file: no.csv"),
        ("{file_hash: [abc]}", "jobs[0].sweep.axes.file_hash[0]: must be a SHA-256"),
        ("[{parameter: a}]", "jobs[0].sweep.axes[0]: give either 'values' or 'range'"),
        (
            "[{parameter: a, values: [1], range: {start: 1, stop: 2, count: 2}}]",
            "jobs[0].sweep.axes[0]: give either 'values' or 'range'",
        ),
        ("[{values: [1]}]", "jobs[0].sweep.axes[0].parameter: must be text"),
        ("[{parameter: a, values: [1]}, {parameter: a, values: [2]}]", "axes: 'a' is given twice"),
        ("[{file: [x], values: [1]}]", "jobs[0].sweep.axes[0]: 'file' stands alone in an axis"),
    ],
)
def test_what_is_wrong_with_an_axis_is_named_with_its_place(axes: str, problem: str) -> None:
    with pytest.raises(BatchFileError) as caught:
        parse(axes)

    assert problem in str(caught.value)


def test_a_sweep_of_more_axes_than_the_contract_has_is_refused() -> None:
    axes = ", ".join(f"p{number}: [1]" for number in range(1001))

    with pytest.raises(BatchFileError, match=r"jobs\[0\].sweep.axes: has more than 1000 axes"):
        parse(f"{{{axes}}}")


@pytest.mark.parametrize(
    ("job", "problem"),
    [
        ("sweep: {}", "jobs[0].sweep: 'axes' is missing"),
        ("sweep: {axes: {a: [1]}, mode: cross}", "jobs[0].sweep.mode: must be one of grid, zip"),
        (
            "sweep: {axes: {a: [1], b: [1, 2]}, mode: zip}",
            "jobs[0].sweep.axes: axes that are zipped need as many values each: a 1, b 2",
        ),
        (
            f"file_hash: {HASH}, sweep: {{axes: {{file_hash: [{HASH}]}}}}",
            "jobs[0].file_hash: not together with a sweep over files",
        ),
    ],
)
def test_what_is_wrong_with_a_sweep_is_named_with_its_place(job: str, problem: str) -> None:
    with pytest.raises(BatchFileError) as caught:
        batch_file.parse(f"jobs: [{{method: m, {job}}}]", folder=pathlib.Path())

    assert problem in str(caught.value)


def test_a_sweep_that_was_not_meant_is_refused_before_anything_is_made_of_it() -> None:
    axes = ", ".join(f"p{number}: {{start: 0, stop: 1, count: 2000000000}}" for number in range(9))

    with pytest.raises(BatchFileError) as caught:
        parse(f"{{{axes}}}")

    assert str(caught.value).endswith(
        f"jobs[0].sweep: the batch has more than {naming.MAX_ROWS:,} jobs"
    )
