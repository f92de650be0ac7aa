"""Every example method is one that a server loads, and a folder that stands alone."""

import collections
import hashlib

import pytest

from support import examples_runs as examples

FIELDS = {
    "name",
    "description",
    "version",
    "command",
    "script_path",
    "environment",
    "deterministic",
    "timeout_seconds",
    "parameters",
}
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


def fits(value: object, type_name: str) -> bool:
    # A boolean is an integer to Python, and not to JSON.
    return isinstance(value, TYPES[type_name]) and (type_name == "boolean") == (
        isinstance(value, bool)
    )


def test_there_is_a_manifest_for_every_folder_and_a_folder_for_every_manifest() -> None:
    folders = sorted(path.name for path in examples.SCRIPTS.iterdir() if path.is_dir())
    assert folders == examples.methods()
    assert len(folders) == 12


@pytest.mark.parametrize("method", examples.methods())
def test_a_manifest_describes_its_method(method: str) -> None:
    manifest = examples.manifest(method)
    assert set(manifest) - {"inputs"} == FIELDS
    assert manifest["name"] == method
    assert manifest["description"].endswith(".")
    assert manifest["command"] in {"python3", "bash"}
    assert (examples.SCRIPTS / method / manifest["script_path"]).is_file()
    assert manifest["timeout_seconds"] > 0
    assert manifest["deterministic"] is True


@pytest.mark.parametrize("method", examples.methods())
def test_a_parameter_has_a_type_and_a_default_that_fits_unless_it_is_required(method: str) -> None:
    parameters = examples.manifest(method)["parameters"]
    assert len({parameter["name"] for parameter in parameters}) == len(parameters) > 0
    for parameter in parameters:
        assert parameter["type"] in TYPES
        assert parameter["description"]
        assert parameter["required"] is not ("default" in parameter)
        if "default" in parameter:
            assert fits(parameter["default"], parameter["type"])


@pytest.mark.parametrize("name", ["job.py", "table.py", "disclosure.py"])
def test_the_copies_of_a_file_that_methods_have_in_common_are_equal(name: str) -> None:
    copies = sorted(examples.SCRIPTS.glob(f"*/{name}"))
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in copies}
    assert len(copies) >= 7
    assert len(digests) == 1


def test_a_job_of_the_demo_names_parameters_that_its_method_declares() -> None:
    for job in examples.demo_jobs():
        declared = {entry["name"]: entry for entry in examples.manifest(job.method)["parameters"]}
        for name, value in job.parameters.items():
            assert fits(value, declared[name]["type"]), (job, name)
        required = {name for name, entry in declared.items() if entry["required"]}
        assert required <= set(job.parameters), job


def test_the_demo_uses_every_method_over_one_file_and_every_data_set_twice_or_more() -> None:
    jobs = examples.demo_jobs()
    used = collections.Counter((job.method, job.path.name) for job in jobs)
    files = {path.name for path in examples.DATA.glob("*.*") if path.name != "README.md"}
    assert len(jobs) > 80
    over_one_file = {name for name in examples.methods() if len(examples.input_names(name)) == 1}
    assert {method for method, _ in used} == over_one_file
    assert set(examples.methods()) - over_one_file == {"mask_summary"}
    assert {file for _, file in used} >= files
    assert min(used.values()) >= 2
