"""docs/batch-files.md: every example is a batch, and everything that a batch may have is there."""

import pathlib

import pytest

from dshpc.cli import batch_file, batch_options, fields, references, sweeps
from dshpc.cli.policies import Cache, Resubmit
from support import documents

PAGE = "docs/batch-files.md"
EXAMPLES = documents.blocks(PAGE, "yaml")


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "data").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "data" / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_is_a_batch(folder: pathlib.Path, number: int) -> None:
    batch = batch_file.parse(EXAMPLES[number], folder=folder)

    hashes = {path: str(path) for path in batch.paths()}
    assert [row.config(hashes).method_name for row in batch.rows]


def test_what_the_page_says_of_its_examples_is_so(folder: pathlib.Path) -> None:
    _, files, sweep, *_ = (batch_file.parse(text, folder=folder) for text in EXAMPLES)

    assert [row.config_id for row in files.rows[:2]] == ["clean/a.csv", "clean/b.csv"]
    assert [row.count for row in sweep.rows] == [24, 6]


def test_every_key_and_every_word_is_on_the_page() -> None:
    page = documents.text(PAGE)
    keys = batch_file.JOB | batch_file.MATRIX | batch_options.KNOWN | {"jobs", "matrix", "options"}
    words = [*Cache, *Resubmit, *references.Condition, *sweeps.Mode]
    assert {word for word in (*keys, *words) if word not in page} == set()


def test_the_mistake_on_the_page_is_told_so(folder: pathlib.Path) -> None:
    text = "jobs:\n  - {method: m}\n\n\n\n  - depends_on:\n          - clen\n    method: m\n"
    text += "  - {method: m, config_id: clean}\n"

    with pytest.raises(fields.BatchFileError) as caught:
        batch_file.parse(text, folder=folder)

    shown = documents.blocks(PAGE, "text")[0].strip()
    assert shown == f"dshpc: batch.yaml:{caught.value}"
