"""Manifests: what is read, and the reason for what is not."""

import json
import os
import pathlib

import pytest

from dshpc_server.methods import errors, manifest
from support import methods_site


def reason(**fields: object) -> str:
    with pytest.raises(errors.ManifestError) as raised:
        methods_site.parsed(**fields)
    assert raised.value.file.name == "hello.json"
    return raised.value.reason


def nested(levels: int) -> list[object]:
    """Lists and objects in one another, so many."""
    value: list[object] = []
    for _ in range(levels - 1):
        value = [{}, value]
    return value


def test_a_manifest_of_an_existing_site_is_read_whole(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "histogram.json"
    file.write_text(
        json.dumps(
            {
                "name": "histogram",
                "description": "Counts values per bin",
                "version": "1.0.0",
                "command": "python3",
                "script_path": "main.py",
                "author": {"name": "somebody"},
                "parameters": [
                    {
                        "name": "bins",
                        "description": "how many",
                        "type": "int",
                        "required": True,
                        "default": 10,
                        "unit": "1",
                    },
                    {"name": "label", "type": "string", "required": False, "default": None},
                ],
            }
        )
    )

    read = manifest.read(file)

    assert (read.name, read.version, read.description) == (
        "histogram",
        "1.0.0",
        "Counts values per bin",
    )
    assert (read.command, read.script_path) == (("python3",), "main.py")
    bins, label = read.parameters
    assert (bins.name, bins.type, bins.required, bins.default) == ("bins", "integer", True, 10)
    assert bins.has_default
    assert not label.has_default
    assert (read.inputs, read.timeout_seconds, read.environment) == (("input",), None, "")
    assert read.deterministic
    assert read.expected_seconds is None


def test_name_command_and_script_path_are_enough() -> None:
    read = methods_site.parsed()
    assert read.accepts_any
    assert (read.version, read.description, read.parameters) == ("", "", ())


@pytest.mark.parametrize(
    ("word", "standard"),
    [
        ("float", "number"),
        ("int", "integer"),
        ("bool", "boolean"),
        ("list", "array"),
        ("dict", "object"),
        ("string", "string"),
        ("number", "number"),
    ],
)
def test_the_older_words_for_types_are_understood(word: str, standard: str) -> None:
    (parameter,) = methods_site.parsed(parameters=[{"name": "x", "type": word}]).parameters
    assert parameter.type == standard


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python3", ("python3",)),
        ("python3 -u", ("python3", "-u")),
        ("  Rscript   --vanilla ", ("Rscript", "--vanilla")),
        ('bash -c \'exec "$0" "$@"\'', ("bash", "-c", 'exec "$0" "$@"')),
    ],
)
def test_the_command_is_split_as_a_shell_would(command: str, words: tuple[str, ...]) -> None:
    assert methods_site.parsed(command=command).command == words


def test_the_optional_additions_are_read() -> None:
    read = methods_site.parsed(
        inputs=[{"name": "genotypes"}, "Phenotypes"],
        resources={"cpus": 4, "memory_mb": 512, "gpus": 0, "nodes": 1},
        timeout_seconds=90,
        expected_seconds=0.5,
        environment="python:3.12",
        deterministic=False,
    )
    assert read.inputs == ("genotypes", "Phenotypes")
    assert (read.resources.cpus, read.resources.memory_bytes) == (4, 512 * 1024 * 1024)
    assert read.resources.gpus == 0
    assert (read.timeout_seconds, read.environment) == (90.0, "python:3.12")
    assert read.expected_seconds == 0.5
    assert not read.deterministic


def test_a_method_may_be_without_inputs() -> None:
    assert methods_site.parsed(inputs=[]).inputs == ()


def test_a_script_path_is_brought_into_its_plain_form() -> None:
    assert methods_site.parsed(script_path="./src//run.py").script_path == "src/run.py"


@pytest.mark.parametrize("key", ["name", "command", "script_path"])
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_needed_and_missing_is_named(key: str, value: object) -> None:
    assert reason(**{key: value}) == f"{key} is missing"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": 7}, "name must be a string"),
        ({"name": "../other"}, "name '../other' is not one"),
        ({"name": ".hidden"}, "is not one"),
        ({"name": "a\nb"}, "is not one"),
        ({"name": "\u202egnp"}, "is not one"),
        ({"name": "x" * 129}, "is not one"),
        ({"command": "python3 'unfinished"}, "command cannot be split into words"),
        ({"command": "''"}, "command names no program"),
        ({"command": ["python3"]}, "command must be a string"),
        ({"command": "python3\0"}, "command holds a NUL character"),
        ({"version": "\ud800"}, "version is not Unicode text"),
        ({"script_path": "/etc/passwd"}, "script_path must name a file inside"),
        ({"script_path": "../other/main.py"}, "script_path must name a file inside"),
        ({"script_path": "."}, "script_path must name a file inside"),
        ({"parameters": {"x": 1}}, "parameters must be a list"),
        ({"parameters": ["x"]}, "each of parameters must be an object"),
        ({"parameters": [{"type": "string"}]}, "name is missing"),
        ({"parameters": [{"name": "x"}]}, "parameter 'x': type is missing"),
        ({"parameters": [{"name": "x", "type": "text"}]}, "parameter 'x': type 'text' is none of"),
        (
            {"parameters": [{"name": "x", "type": "integer", "default": 1.5}]},
            "parameter 'x': the default is not of type integer",
        ),
        (
            {"parameters": [{"name": "x", "type": "integer", "default": True}]},
            "parameter 'x': the default is not of type integer",
        ),
        (
            {"parameters": [{"name": "x", "type": "number", "default": float("inf")}]},
            "parameter 'x': the default has no canonical form",
        ),
        (
            {"parameters": [{"name": "x", "type": "array", "default": nested(17)}]},
            "parameter 'x': the default is nested deeper than 16 levels",
        ),
        (
            {"parameters": [{"name": "x", "type": "array", "default": nested(150)}]},
            "parameter 'x': the default is nested deeper than 16 levels",
        ),
        (
            {"parameters": [{"name": "x", "type": "string", "required": "yes"}]},
            "parameter 'x': required must be true or false",
        ),
        (
            {"parameters": [{"name": "x", "type": "string"}, {"name": "x", "type": "number"}]},
            "parameter 'x' is declared twice",
        ),
        ({"inputs": "input"}, "inputs must be a list"),
        ({"inputs": [{"name": "1st"}]}, "input '1st' is not a name"),
        ({"inputs": ["a-b"]}, "input 'a-b' is not a name"),
        ({"inputs": ["x" * 65]}, "is not a name"),
        ({"inputs": ["a\n"]}, "is not a name"),
        ({"inputs": [3]}, "input 3 is not a name"),
        ({"inputs": ["left", "LEFT"]}, "input 'LEFT' is declared twice"),
        ({"resources": [1]}, "resources must be an object"),
        ({"resources": {"cpus": 0}}, "cpus must be at least 1"),
        ({"resources": {"cpus": True}}, "cpus must be an integer"),
        ({"resources": {"gpus": -1}}, "gpus must be at least 0"),
        ({"resources": {"memory_bytes": 1, "memory_mb": 1}}, "memory_bytes or memory_mb"),
        ({"timeout_seconds": 0}, "timeout_seconds must be a number above 0"),
        ({"timeout_seconds": True}, "timeout_seconds must be a number above 0"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds must be a number above 0"),
        ({"timeout_seconds": 10**400}, "timeout_seconds must be a number above 0"),
        ({"expected_seconds": 0}, "expected_seconds must be a number above 0"),
        ({"expected_seconds": -1}, "expected_seconds must be a number above 0"),
        ({"expected_seconds": "5"}, "expected_seconds must be a number above 0"),
        ({"expected_seconds": float("inf")}, "expected_seconds must be a number above 0"),
        ({"environment": 3}, "environment must be a string"),
        ({"deterministic": "no"}, "deterministic must be true or false"),
    ],
)
def test_what_is_wrong_is_told(fields: dict[str, object], expected: str) -> None:
    assert expected in reason(**fields)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "is not JSON"),
        (b'{"name": ', "is not JSON"),
        (b'{"name": NaN}', "NaN is not a JSON number"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b" " * (manifest.MAX_MANIFEST_BYTES + 1), "it is larger than"),
    ],
)
def test_a_file_that_holds_no_manifest_is_refused(
    tmp_path: pathlib.Path, text: bytes, expected: str
) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(text)
    with pytest.raises(errors.ManifestError) as raised:
        manifest.read(file)
    assert expected in raised.value.reason
    assert raised.value.file == file


def test_a_fifo_in_the_place_of_a_manifest_is_not_waited_for(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(errors.ManifestError, match="not a regular file"):
        manifest.read(tmp_path / "pipe.json")


def test_a_manifest_that_may_not_be_read_is_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret.json"
    file.write_text("{}")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "read_text", refuse)
    with pytest.raises(errors.ManifestError, match="cannot be read: Permission denied"):
        manifest.read(file)


def test_a_byte_order_mark_does_not_matter(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "hello.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(methods_site.document()).encode())
    assert manifest.read(file).name == "hello"
