"""The wheel: the two packages with their data files, and nothing else."""

import pathlib
import subprocess
import sys
import zipfile

import pytest

from support import documents

PACKAGES = {
    "dshpc": documents.ROOT / "client_stubs",
    "dshpc_server": documents.ROOT / "server",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=documents.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    (metadata,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops == {*PACKAGES, metadata}
    assert f"{metadata}/licenses/LICENSE" in wheel.namelist()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_holds_every_file_of_a_package_data_included(
    wheel: zipfile.ZipFile, package: str
) -> None:
    source = PACKAGES[package]
    expected = {
        str(path.relative_to(source)) for path in documents.files(f"{source.name}/{package}/*")
    }
    assert f"{package}/py.typed" in expected
    assert expected - set(wheel.namelist()) == set()
    assert not [name for name in wheel.namelist() if "__pycache__" in name]


def test_the_packages_in_the_wheel_can_be_imported(
    wheel: zipfile.ZipFile, tmp_path: pathlib.Path
) -> None:
    wheel.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import dshpc, dshpc_server, dshpc.v1.job_service_pb2_grpc\n"
        "print(dshpc.__file__, dshpc_server.__file__, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert [tmp_path in pathlib.Path(p).parents for p in done.stdout.split()] == [True, True]


def test_both_commands_are_declared(wheel: zipfile.ZipFile) -> None:
    (declared,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    commands = wheel.read(declared).decode()
    assert "dshpc = " in commands
    assert "dshpc-server = " in commands
