"""Whatever is wrong with a batch file is named with its place."""

import pathlib

import pytest

from dshpc.cli import batch_file
from dshpc.cli.batch import Batch
from dshpc.cli.fields import BatchFileError

HASH = "0123456789abcdef" * 4


def parse(text: str) -> Batch:
    return batch_file.parse(text, folder=pathlib.Path())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be a mapping, not nothing"),
        ("[1]", "must be a mapping, not a list"),
        ("display_name: x", "nothing to run: give 'jobs' or 'matrix'"),
        ("jobs: []", "jobs: must not be empty"),
        ("jobs: {method: m}", "jobs: must be a list, not a mapping"),
        ("job: []", "job: unknown key; did you mean 'jobs'?"),
        ("jobs: [m]", "jobs[0]: must be a mapping, not text"),
        (
            "jobs: [{method: m}, {method: m, paramters: {}}]",
            "jobs[1].paramters: unknown key; did you mean 'parameters'?",
        ),
        ("jobs: [{file: data/a.csv}]", "jobs[0]: 'method' is missing"),
        ("jobs: [{method: 7}]", "jobs[0].method: must be text, not a number: put it in quotes"),
        ("jobs: [{method: ''}]", "jobs[0].method: must not be empty"),
        ("jobs: [{method: m, methodName: m}]", "jobs[0].methodName: 'method' is given twice"),
        ("jobs: [{method: m, file: no.csv}]", "jobs[0].file: no such file: no.csv"),
        ("jobs: [{method: m, file: '/'}]", "jobs[0].file: is not a file: /"),
        ("jobs: [{method: m, file_hash: ABC}]", "jobs[0].file_hash: must be a SHA-256"),
        (
            f"jobs: [{{method: m, file: x, file_hash: {HASH}}}]",
            "jobs[0].file_hash: not together with 'file'",
        ),
        ("jobs: [{method: m, inputs: [x]}]", "jobs[0].inputs: must be a mapping"),
        ("jobs: [{method: m, inputs: {x: {}}}]", "jobs[0].inputs.x.file_hash: must be text"),
        ("jobs: [{method: m, parameters: 3}]", "jobs[0].parameters: must be a mapping"),
        (
            "jobs: [{method: m, parameters: {a: [1, {b: .nan}]}}]",
            "jobs[0].parameters.a[1].b: nan is not a number that JSON has",
        ),
        ("jobs: [{method: m, parameters: {a: 1e999}}]", "jobs[0].parameters.a: inf is not"),
        (
            "jobs: [{method: m, parameters: {a: 9007199254740993}}]",
            "jobs[0].parameters.a: 9007199254740993 is over 2^53",
        ),
        ("jobs: [{method: m, parameters: {a: !!binary aGk=}}]", "parameters.a: is bytes"),
        ('{"jobs": [{"method": "m", "parameters": {"a": "\\ud800"}}]}', "a: is not Unicode text"),
        ('{"jobs": [{"method": "m", "parameters": {"\\ud800": 1}}]}', "is not Unicode text"),
        ("jobs: [{method: m, parameters: &x {a: *x}}]", "is nested deeper than 30 levels"),
        ("jobs: [{method: m, timeout: soon}]", "jobs[0].timeout: must be seconds, or text like"),
        ("jobs: [{method: m, timeout: true}]", "jobs[0].timeout: must be seconds, or text like"),
        ("jobs: [{method: m, timeout: 0}]", "jobs[0].timeout: must be over 0"),
        ("jobs: [{method: m, timeout: .nan}]", "jobs[0].timeout: must be over 0"),
        ("jobs: [{method: m, timeout: 99999999999999999999}]", "jobs[0].timeout: must be over 0"),
        ("jobs: [{method: m, resources: {cpu: 1}}]", "did you mean 'cpus'?"),
        ("jobs: [{method: m, resources: {cpus: 1.5}}]", "jobs[0].resources.cpus: must be a whole"),
        ("jobs: [{method: m, resources: {cpus: true}}]", "jobs[0].resources.cpus: must be a whole"),
        ("jobs: [{method: m, resources: {memory: 2G}}]", "jobs[0].resources.memory: must be bytes"),
        ("jobs: [{method: m, resources: {gpus: -1}}]", "jobs[0].resources.gpus: must be a whole"),
        (
            "jobs: [{method: m, config_id: x}, {method: m, config_id: x}]",
            "jobs[1].config_id: 'x' already names jobs[0]",
        ),
        ("matrix: [{method: m, files: []}]", "matrix[0].files: must not be empty"),
        ("matrix: [{method: m, files: ['*.no']}]", "matrix[0].files[0]: no file matches *.no"),
        ("matrix: [{method: m, parameters: {}}]", "matrix[0].parameters: must be a list"),
        ("matrix: [{method: m, parameters: [1]}]", "matrix[0].parameters[0]: must be a mapping"),
        ("matrix: [{method: m, config_id: x}]", "matrix[0].config_id: unknown key"),
        ("files: [x]\njobs: [{method: m}]", "files: must be a mapping"),
        ("files: {x: no.csv}\njobs: [{method: m}]", "files.x: no such file: no.csv"),
        ("options: {display_name: x}\ndisplay_name: y\njobs: [{method: m}]", "is given twice"),
        ("a: 1\na: 2", "2:1: key 'a' is given twice"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(BatchFileError) as caught:
        parse(text)

    assert problem in str(caught.value)


def test_quotes_make_text_of_a_number_but_not_of_a_list() -> None:
    for value, ending in (("7", "not a number: put it in quotes"), ("[m]", "not a list")):
        with pytest.raises(BatchFileError) as caught:
            parse(f"jobs: [{{method: {value}}}]")
        assert str(caught.value).endswith(ending)


def test_values_that_aliases_multiply_are_refused() -> None:
    levels = "".join(f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 9))
    text = f"jobs:\n- method: m\n  parameters:\n    l0: &l0 [x]\n{levels.replace('  l', '    l')}"

    with pytest.raises(BatchFileError, match="more than 100000 values"):
        parse(text)
