"""docs/identity.md: every recipe on the page gives the ids that the service gives."""

import json
import pathlib
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from dshpc_server.domain import identity
from support import component, documents

PAGE = "docs/identity.md"
VECTORS = json.loads(documents.text("tests/unit/domain/identity_vectors.json"))["vectors"]


def recipe(number: int) -> dict[str, Any]:
    """Run a Python block of the page; returns its names."""
    names: dict[str, Any] = {}
    exec(documents.blocks(PAGE, "python")[number], names)  # the page's own code
    return names


def printed_id() -> str:
    (block,) = documents.blocks(PAGE, "text")
    return block.strip()


def test_the_printed_id_is_the_one_the_service_computes() -> None:
    names = recipe(0)
    assert printed_id() == identity.job_id(
        function_hash=names["function_hash"],
        inputs={"input": names["file_hash"]},
        parameters_json='{"bins":10,"method":"fd"}',
    )


def test_the_python_recipe_prints_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    recipe(0)
    assert capsys.readouterr().out.strip() == printed_id()


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_python_recipe_reproduces_the_golden_vectors(vector: dict[str, Any]) -> None:
    job_id: Callable[..., str] = recipe(0)["job_id"]
    parameters = json.loads(vector["parameters"])
    assert job_id(vector["function_hash"], vector["inputs"], parameters) == vector["job_id"]


def test_the_short_python_recipe_is_right_within_the_limits_it_names() -> None:
    job_id: Callable[..., str] = recipe(1)["job_id_of_integers_and_text"]
    within = [v for v in VECTORS if not re.search(r"\d[.e]|\d{16}|ud83d", v["parameters"])]
    assert len(within) >= 6
    for vector in within:
        parameters = json.loads(vector["parameters"])
        assert job_id(vector["function_hash"], vector["inputs"], parameters) == vector["job_id"]


def test_the_javascript_recipe_prints_the_same_id(tmp_path: pathlib.Path) -> None:
    node = component.path("node")
    script = tmp_path / "identity.mjs"
    script.write_text(documents.blocks(PAGE, "javascript")[0])
    done = subprocess.run([node, script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == printed_id()


def test_the_shell_recipe_prints_the_same_id() -> None:
    (script,) = documents.blocks(PAGE, "sh")
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == printed_id()


def test_the_vectors_shown_on_the_page_are_those_of_the_file() -> None:
    shown = re.findall(
        r"^\| `(\{.*)` \| `(\{.*)` \| `(\w{64})` \|$", documents.text(PAGE), re.MULTILINE
    )
    assert len(shown) >= 5
    in_file = {(v["parameters"], v["canonical"], v["job_id"]) for v in VECTORS}
    assert set(shown) <= in_file
