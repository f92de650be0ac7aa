"""Hostile words where any word is allowed: kept and given back as they are, never obeyed."""

import json
import pathlib
from collections.abc import Iterator

import grpc
import pytest

from dshpc.v1 import types_pb2
from support import calls, hostile_messages, live_server, site

SHORT = {what: name for what, name in hostile_messages.NAMES.items() if what != "long"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("labels")


@pytest.fixture(scope="module")
def service(folder: pathlib.Path) -> Iterator[calls.Service]:
    settings = live_server.settings(folder, site.write(folder))
    with live_server.in_thread(settings) as address, grpc.insecure_channel(address) as channel:
        yield calls.Service(channel)


@pytest.fixture(autouse=True)
def _no_file_is_named_by_a_client(folder: pathlib.Path) -> Iterator[None]:
    yield
    names = {path.name for path in folder.rglob("*")}
    assert not names & {"x", "passwd", *SHORT.values()}
    assert {path.name for path in folder.iterdir()} == {"data", "methods"}


def test_config_ids_and_display_names_are_labels(service: calls.Service) -> None:
    configs = [
        calls.config("no_input", parameters={"n": index}, config_id=name)
        for index, name in enumerate(SHORT.values())
    ]
    answer = service.simulate(*configs, finished=True, display_name=SHORT["shell"])
    assert [row.config_id for row in answer.results] == list(SHORT.values())
    assert all(row.new_status == types_pb2.JOB_STATUS_COMPLETED for row in answer.results)


@pytest.mark.parametrize("what", SHORT)
def test_file_names_and_media_types_are_labels(service: calls.Service, what: str) -> None:
    name = SHORT[what]
    content = what.encode()
    file_hash = site.hash_of(content)
    parts = calls.upload_parts(file_hash, content, filename=name, media_type=name)
    stored = service.files.UploadFile(parts, timeout=30).file
    assert (stored.filename, stored.media_type) == (name, name)
    assert service.download(file_hash) == content


PARAMETERS: dict[str, dict[str, object]] = {
    "operator": {"$ne": None, "$where": "1"},
    "dotted": {"a.b": 1, "": {"..": 2}, "a[0]": 3},
    "prototype": {"__proto__": {"x": 1}, "constructor": 2},
    "shell": {"$(touch x)": "`touch x`; $IFS"},
    "names": {name: name for name in SHORT.values()},
    "numbers": {"large": 2.0**63, "small": 5e-324, "zero": -0.0},
    "many": {f"key {n}": n for n in range(9_000)},
    "deep": {"a": {"b": {"c": {"d": {"e": [[[[[1]]]]]}}}}},
}


@pytest.mark.parametrize("what", PARAMETERS)
def test_parameters_reach_the_method_as_they_are(service: calls.Service, what: str) -> None:
    file_hash = service.upload(b"input")
    config = calls.config("parameters", file_hash, PARAMETERS[what])
    result = service.run(config)
    output = service.download(result.output_hash)
    # Shortest digits that give the same double: 2^63 is written 9223372036854776000.
    assert json.loads(output, parse_int=float) == json.loads(
        json.dumps(PARAMETERS[what]), parse_int=float
    )
    assert b"-0" not in output.replace(b"e-0", b"") or what != "numbers"
