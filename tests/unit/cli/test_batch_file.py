"""A batch file becomes configs; whatever is wrong with it is named with its place."""

import json
import pathlib

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from dshpc.cli import batch_file, fields
from dshpc.cli.batch import Batch
from dshpc.cli.documents import Json
from dshpc.v1 import types_pb2

HASH = "0123456789abcdef" * 4

_numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
_values = st.recursive(
    st.none() | st.booleans() | _numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "data").mkdir()
    for name in ("a.csv", "b.csv", ".hidden.csv", "notes.txt", "odd[1].csv"):
        (tmp_path / "data" / name).write_text(name)
    return tmp_path


def parse(text: str, folder: pathlib.Path = pathlib.Path()) -> Batch:
    return batch_file.parse(text, folder=folder)


def configs(batch: Batch) -> list[types_pb2.JobConfig]:
    hashes = {path: f"hash of {path.name}" for path in batch.paths()}
    return [row.config(hashes) for row in batch.rows]


def as_dicts(batch: Batch) -> list[dict[str, object]]:
    return [json_format.MessageToDict(config) for config in configs(batch)]


def test_a_job_may_say_everything(folder: pathlib.Path) -> None:
    batch = parse(
        """
        display_name: all of it
        jobs:
          - config_id: mine
            method: column_stats
            file: data/a.csv
            parameters: {bins: 5, columns: [x, y], nested: {deep: null}}
            timeout: 1h30m
            resources: {cpus: 2, memory: 2GiB, gpus: 1}
        """,
        folder,
    )

    assert batch.display_name == "all of it"
    assert as_dicts(batch) == [
        {
            "configId": "mine",
            "methodName": "column_stats",
            "fileHash": "hash of a.csv",
            "parameters": {"bins": 5.0, "columns": ["x", "y"], "nested": {"deep": None}},
            "timeout": "5400s",
            "resources": {"cpus": 2, "memoryBytes": str(2 << 30), "gpus": 1},
        }
    ]


def test_inputs_are_paths_or_hashes(folder: pathlib.Path) -> None:
    text = f"jobs: [{{method: m, inputs: {{left: data/a.csv, right: {{file_hash: {HASH}}}}}}}]"

    assert as_dicts(parse(text, folder)) == [
        {
            "methodName": "m",
            "inputs": {"left": {"fileHash": "hash of a.csv"}, "right": {"fileHash": HASH}},
        }
    ]


def test_a_matrix_is_every_file_with_every_parameters_in_order(folder: pathlib.Path) -> None:
    batch = parse(
        """
        jobs: [{method: first}]
        matrix:
          - method: stats
            files: ["data/*.csv", data/notes.txt]
            parameters: [{bins: 5}, {bins: 10}]
            timeout: 90
          - {method: stats, files: [data/a.csv]}
          - {method: clock, parameters: [{}, {utc: true}]}
        """,
        folder,
    )

    found = [(c.config_id, c.file_hash, dict(c.parameters)) for c in configs(batch)]

    assert found == [
        ("", "", {}),
        ("stats/a/1", "hash of a.csv", {"bins": 5}),
        ("stats/a/2", "hash of a.csv", {"bins": 10}),
        ("stats/b/1", "hash of b.csv", {"bins": 5}),
        ("stats/b/2", "hash of b.csv", {"bins": 10}),
        ("stats/odd[1]/1", "hash of odd[1].csv", {"bins": 5}),
        ("stats/odd[1]/2", "hash of odd[1].csv", {"bins": 10}),
        ("stats/notes/1", "hash of notes.txt", {"bins": 5}),
        ("stats/notes/2", "hash of notes.txt", {"bins": 10}),
        ("stats/a/3", "hash of a.csv", {}),
        ("clock/1", "", {}),
        ("clock/2", "", {"utc": True}),
    ]
    assert [c.timeout.seconds for c in configs(batch)] == [0] + [90] * 8 + [0] * 3


def test_a_generated_name_leaves_out_what_a_job_is_called(folder: pathlib.Path) -> None:
    text = """
        jobs: [{method: m, config_id: m/a/1}]
        matrix: [{method: m, files: [data/a.csv]}]
    """

    assert [row.config_id for row in parse(text, folder).rows] == ["m/a/1", "m/a/2"]


def test_a_path_with_pattern_signs_is_that_file_if_there_is_one(folder: pathlib.Path) -> None:
    batch = parse('matrix: [{method: m, files: ["data/odd[1].csv"]}]', folder)

    assert [path.name for path in batch.paths()] == ["odd[1].csv"]


def test_files_may_have_names(folder: pathlib.Path) -> None:
    batch = parse(
        f"""
        files: {{clinic: data/a.csv, stored: {{file_hash: {HASH}}}}}
        jobs: [{{method: m, file: clinic}}, {{method: m, inputs: {{x: stored, y: clinic}}}}]
        matrix: [{{method: m, files: [clinic, stored, data/b.csv]}}]
        """,
        folder,
    )

    assert [(c.config_id, c.file_hash) for c in configs(batch)] == [
        ("", "hash of a.csv"),
        ("", ""),
        ("m/a/1", "hash of a.csv"),
        ("m/0123456789ab/1", HASH),
        ("m/b/1", "hash of b.csv"),
    ]
    assert {n: r.file_hash for n, r in configs(batch)[1].inputs.items()} == {
        "x": HASH,
        "y": "hash of a.csv",
    }


def test_the_wire_form_is_read_in_both_spellings() -> None:
    wire = {
        "options": {"displayName": "as grpcurl takes it"},
        "jobs": [
            {
                "fileHash": HASH,
                "methodName": "m",
                "configId": "one",
                "parameters": {"camelCase": {"memory_bytes": 1}},
                "resources": {"memoryBytes": "1024"},
                "timeout": "1.5s",
            },
            {"file_hash": HASH, "method_name": "m", "inputs": None},
            {"method_name": "m", "inputs": {"x": {"fileHash": HASH}}},
        ],
    }
    batch = parse(json.dumps(wire))

    assert batch.display_name == "as grpcurl takes it"
    assert as_dicts(batch) == [
        {
            "fileHash": HASH,
            "methodName": "m",
            "configId": "one",
            "parameters": {"camelCase": {"memory_bytes": 1.0}},
            "resources": {"memoryBytes": "1024"},
            "timeout": "1.500s",
        },
        {"fileHash": HASH, "methodName": "m"},
        {"methodName": "m", "inputs": {"x": {"fileHash": HASH}}},
    ]


@given(st.dictionaries(st.text(), _values, max_size=4))
def test_any_json_parameters_are_sent_as_they_are(parameters: dict[str, Json]) -> None:
    batch = parse(json.dumps({"jobs": [{"method": "m", "parameters": parameters}]}))

    (config,) = configs(batch)
    sent = types_pb2.JobConfig.FromString(config.SerializeToString())

    assert json_format.MessageToDict(sent.parameters) == parameters


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(90, 90), (1.5, 1.5), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("500ms", 0.5)],
)
def test_durations(value: Json, seconds: float) -> None:
    assert fields.seconds("x", value) == seconds


@pytest.mark.parametrize(
    ("value", "size_bytes"),
    [(7, 7), ("7", 7), ("2GiB", 2**31), ("2 GiB", 2**31), ("1.5kB", 1500), ("500MB", 5 * 10**8)],
)
def test_sizes(value: Json, size_bytes: int) -> None:
    assert fields.size_bytes("x", value) == size_bytes
