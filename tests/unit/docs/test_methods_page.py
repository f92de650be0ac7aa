"""docs/methods.md: the example loads and runs, the hash is right, and the tables are complete."""

import contextlib
import dataclasses
import inspect
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from dshpc_server import config
from dshpc_server.batches import endings
from dshpc_server.domain import lifecycle
from dshpc_server.domain.job import AttemptKey, JobStatus, Resources
from dshpc_server.engine import port
from dshpc_server.engine.local import contract
from dshpc_server.engine.slurm import engine as slurm
from dshpc_server.methods import errors, manifest, method, reloading, tree
from dshpc_server.transport import limits
from support import documents, methods_site

PAGE = "docs/methods.md"
EXAMPLE = json.loads(documents.blocks(PAGE, "json")[0])
SCRIPT, RECIPE = documents.blocks(PAGE, "python")


@pytest.fixture
def site(tmp_path: pathlib.Path) -> methods_site.Site:
    """A site with the page's example, and nothing else."""
    made = methods_site.Site(tmp_path)
    fields = {name: value for name, value in EXAMPLE.items() if name != "name"}
    made.install(EXAMPLE["name"], {EXAMPLE["script_path"]: SCRIPT}, **fields)
    return made


def table(heading: str, number: int = 0) -> list[list[str]]:
    """The rows of a table below a heading, without its head."""
    part = documents.text(PAGE).split(f"# {heading}\n")[1].split("\n#")[0]
    tables = re.findall(r"(?:^\|.*\|\n)+", part, re.MULTILINE)
    lines = tables[number].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def section(heading: str) -> str:
    """The text below a heading, up to the next one."""
    return documents.text(PAGE).split(f"## {heading}\n")[1].split("\n#")[0]


def first_words(rows: list[list[str]]) -> list[str]:
    return [row[0].strip("`") for row in rows]


def recipe() -> Callable[..., str]:
    names: dict[str, Any] = {}
    exec(RECIPE, names)  # the page's own code
    found: Callable[..., str] = names["function_hash"]
    return found


def test_the_example_is_a_manifest_that_loads(site: methods_site.Site) -> None:
    report = site.catalog().load()
    assert report.broken == ()
    (version,) = report.loaded
    assert version.complete({"column": "a"}) == {"above": 0, "column": "a"}
    known = {field.name for field in dataclasses.fields(method.Manifest)}
    assert EXAMPLE.keys() <= known


def test_the_hash_on_the_page_is_the_one_a_server_computes(site: methods_site.Site) -> None:
    (version,) = site.catalog().load().loaded
    (printed,) = documents.blocks(PAGE, "text")
    assert printed.strip() == version.function_hash
    assert recipe()(site.scripts(EXAMPLE["name"]), EXAMPLE) == version.function_hash


def test_the_recipe_on_the_page_sees_what_the_server_sees(site: methods_site.Site) -> None:
    scripts = site.scripts(EXAMPLE["name"])
    for path in ("a/b.py", "a.py", "a-b.py", ".hidden", "é", "a/__pycache__/b.pyc"):
        (scripts / path).parent.mkdir(parents=True, exist_ok=True)
        (scripts / path).write_text(path)
    (scripts / "a.py").chmod(0o700)
    changed = EXAMPLE | {"command": "python3 -X 'utf8 mode'", "environment": "ü"}
    del changed["version"]
    parsed = manifest.parse(changed, pathlib.Path("count_above.json"))
    assert recipe()(scripts, changed) == tree.function_hash(scripts, parsed)


def test_trying_the_example_by_hand_gives_an_answer(
    site: methods_site.Site, tmp_path: pathlib.Path
) -> None:
    (commands,) = documents.blocks(PAGE, "sh")
    data = documents.ROOT / "examples/data/linnerud.csv"
    (site.methods_dir / "linnerud.csv").write_bytes(data.read_bytes())
    (tmp_path / "python3").symlink_to(sys.executable)
    done = subprocess.run(
        ["sh", "-ec", commands],
        cwd=site.methods_dir,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    waists = [int(line.split(",")[4]) for line in data.read_text().splitlines()[1:]]
    assert json.loads(done.stdout) == {
        "above": sum(waist > 36 for waist in waists),
        "rows": len(waists),
    }


def test_every_field_of_a_manifest_is_in_the_table() -> None:
    assert first_words(table("The manifest")) == [
        field.name for field in dataclasses.fields(method.Manifest)
    ]


def test_every_field_of_a_parameter_is_in_the_table() -> None:
    fields = {field.name for field in dataclasses.fields(method.Parameter)} - {"has_default"}
    assert set(first_words(table("The manifest", 1))) == fields


@pytest.mark.parametrize("row", table("The manifest"), ids=first_words(table("The manifest")))
def test_exactly_the_fields_said_to_be_needed_are(row: list[str]) -> None:
    name = row[0].strip("`")
    without = {key: value for key, value in methods_site.document().items() if key != name}
    refused = pytest.raises(errors.ManifestError, match=f"{name} is missing")
    with refused if row[2] == "needed" else contextlib.nullcontext():
        manifest.parse(without, pathlib.Path("hello.json"))


def test_every_type_and_every_older_word_is_told() -> None:
    (types,) = [row[3] for row in table("The manifest", 1) if row[0] == "`type`"]
    assert re.findall(r"`(\w+)`", types) == list(method.TYPES)
    text = " ".join(documents.text(PAGE).split())
    told = re.search(r"older words (.*?) are read as (.*?)\.", text)
    assert told is not None
    older, standard = (re.findall(r"`(\w+)`", words) for words in told.groups())
    assert [methods_site.parsed(parameters=[{"name": "p", "type": word}]) for word in older] == [
        methods_site.parsed(parameters=[{"name": "p", "type": word}]) for word in standard
    ]
    assert set(older) == set(manifest._OLDER_TYPES)


def test_every_variable_of_the_environment_is_told() -> None:
    folder = pathlib.Path("/nowhere")
    launch = port.Launch(
        key=AttemptKey(job_id="0" * 64, number=1),
        folder=folder,
        command=("python3",),
        script=folder / "main.py",
        method_dir=folder,
        method_name="count_above",
        inputs={"name": folder / "input"},
        parameters_json="{}",
        resources=Resources(cpus=1, memory_bytes=1, gpus=0),
        timeout_seconds=1,
    )
    job = contract.job_of(launch, {"PATH": "/bin", "TZ": "UTC", "SECRET": "x"})
    told = [name.replace("<NAME>", "NAME") for name in first_words(table("How a method is run"))]
    (devices,) = (name for name in told if "_DEVICES" in name)
    assert f"for clean in {devices.replace('`, `', ' ')};" in slurm.SCRIPT.read_text()
    assert sorted(name for name in told if name != devices) == sorted(job["env"])


def test_reading_again_is_told_with_the_settings_default_and_the_words_of_the_log() -> None:
    part = " ".join(section("Reading the folder again").split())
    seconds = config.Settings.model_fields["methods_reload_seconds"].default
    assert f"`methods_reload_seconds`](configuration.md#where), {seconds:g} unless" in part
    source = inspect.getsource(reloading)
    for word in re.findall(r"`(methods?\.\w+)`", part):
        assert f'"{word}"' in source
    assert set(re.findall(r'"(methods\.\w+)"', source)) - set(
        re.findall(r"`(methods\.\w+)`", part)
    ) == {"methods.loaded", "methods.reload_failed"}


def test_going_back_does_what_the_page_says(site: methods_site.Site) -> None:
    methods = site.catalog()
    first = methods.load().loaded[0]
    script = site.scripts(EXAMPLE["name"]) / EXAMPLE["script_path"]
    script.write_text("")
    second = methods.load().loaded[0]
    script.write_text(SCRIPT)
    assert methods.load().loaded == (first,)
    assert methods.versions(EXAMPLE["name"]) == (first, second)
    site.manifest_file(EXAMPLE["name"]).unlink()
    assert methods.load().loaded == ()
    assert methods.version(EXAMPLE["name"], second.function_hash) == second


def test_the_bounds_on_the_page_are_those_that_hold() -> None:
    text = " ".join(documents.text(PAGE).split())
    assert f"nested {manifest.MAX_DEFAULT_DEPTH} deep at the most" in text
    assert f"one answer ({limits.DEFAULT_RESPONSE_BYTES >> 20} MiB)" in text


@pytest.mark.parametrize(
    ("end", "status"),
    [(row[0], row[1]) for row in table("How it ends")],
    ids=[row[0].replace(" ", "-") for row in table("How it ends")],
)
def test_each_end_has_the_status_that_the_service_gives_it(end: str, status: str) -> None:
    events = {
        "any other exit code": lifecycle.Event.EXITED_NONZERO,
        "killed by a signal": lifecycle.Event.KILLED_BY_SIGNAL,
        "over its time": lifecycle.Event.OVER_TIME,
        "over its memory": lifecycle.Event.OVER_MEMORY,
        "could not be started": lifecycle.Event.NOT_STARTED,
        "lost": lifecycle.Event.LOST,
    }
    event = events.get(end) or _event_of_exit_code(int(end.removeprefix("exit code ")))
    assert lifecycle.target(JobStatus.RUNNING, event) == status


def test_the_exit_codes_with_a_meaning_are_in_the_table() -> None:
    codes = re.findall(r"exit code (\d+)", " ".join(row[0] for row in table("How it ends")))
    meant = {0, endings.RETRIABLE_EXIT_CODE, endings.PERMANENT_EXIT_CODE}
    assert set(map(int, codes)) == meant


def _event_of_exit_code(exit_code: int) -> lifecycle.Event:
    moment = methods_site.FIRST_MOMENT
    fact = port.Exited(
        key=AttemptKey(job_id="0" * 64, number=1),
        at=moment,
        started_at=moment,
        engine_job_id="1",
        node="here",
        exit_code=exit_code,
        signal=None,
        cause=port.Cause.NONE,
        stdout=pathlib.Path("stdout"),
        stderr=pathlib.Path("stderr"),
    )
    return endings.event(fact)
