"""From a claim to a launch: method, inputs and folder are found, or it is said what is gone."""

import dataclasses
import errno
import os
import pathlib

import pytest

from dshpc_server import disk, errors
from dshpc_server.batches import launching
from dshpc_server.domain.job import AttemptKey, Basis, Resources, RunTime
from dshpc_server.store import records
from support import methods_site, store_values
from support.batches_assembly import Assembly


def claim(parts: Assembly, method: str, inputs: dict[str, str]) -> records.Claim:
    version = parts.catalog.current()[method]
    spec = dataclasses.replace(
        store_values.spec("job", method_name=method),
        function_hash=version.function_hash,
        inputs=inputs,
    )
    return records.Claim(
        key=AttemptKey(job_id=spec.job_id, number=3),
        spec=spec,
        resources=Resources(cpus=2),
        timeout_seconds=5.0,
        created_at=store_values.NOON,
        revision=1,
        chain=1,
    )


async def test_a_launch_has_everything_an_engine_needs(parts: Assembly) -> None:
    file_hash = parts.kept.put(b"data")
    wanted = claim(parts, "count", {"input": file_hash})
    launch = await parts.launcher.launch(wanted)
    version = parts.catalog.current()["count"]
    assert launch.command == ("python3",)
    assert launch.script == version.directory / "main.py"
    assert launch.method_dir == version.directory
    assert launch.inputs["input"].read_bytes() == b"data"
    assert launch.parameters_json == wanted.spec.parameters_json
    assert (launch.resources, launch.timeout_seconds) == (wanted.resources, 5.0)
    assert launch.folder.parts[-2:] == (wanted.key.job_id, "3")


async def test_a_launch_tells_how_long_it_is_expected_to_run(
    parts: Assembly, site: methods_site.Site
) -> None:
    assert (await parts.launcher.launch(claim(parts, "hello", {}))).run_time is None
    site.install("hello", inputs=[], expected_seconds=2.5)
    parts.catalog.load()
    launch = await parts.launcher.launch(claim(parts, "hello", {}))
    assert launch.run_time == RunTime(seconds=2.5, basis=Basis.DECLARED)


async def test_a_launch_has_the_priority_of_those_who_wait_for_it(parts: Assembly) -> None:
    wanted = dataclasses.replace(claim(parts, "hello", {}), priority=-3)
    assert (await parts.launcher.launch(wanted)).priority == -3


async def test_inputs_are_in_the_manifests_order(parts: Assembly, site: methods_site.Site) -> None:
    site.install("both", inputs=[{"name": "right"}, {"name": "left"}])
    parts.catalog.load()
    hashes = {name: parts.kept.put(name.encode()) for name in ("left", "right")}
    launch = await parts.launcher.launch(claim(parts, "both", hashes))
    assert list(launch.inputs) == ["right", "left"]


async def test_a_version_that_was_replaced_still_launches(
    parts: Assembly, site: methods_site.Site
) -> None:
    wanted = claim(parts, "hello", {})
    site.install("hello", {"main.py": "print('new')\n"}, inputs=[])
    parts.catalog.load()
    launch = await parts.launcher.launch(wanted)
    assert launch.script.read_text() == methods_site.HELLO


async def test_a_version_that_is_unknown_is_not_launchable(parts: Assembly) -> None:
    wanted = claim(parts, "hello", {})
    unknown = dataclasses.replace(
        wanted, spec=dataclasses.replace(wanted.spec, function_hash="0" * 64)
    )
    with pytest.raises(launching.NotLaunchableError, match="not installed any more"):
        await parts.launcher.launch(unknown)


async def test_an_input_that_is_gone_is_named(parts: Assembly) -> None:
    with pytest.raises(launching.NotLaunchableError, match=f"input 'input' {'0' * 64}"):
        await parts.launcher.launch(claim(parts, "count", {"input": "0" * 64}))


@pytest.mark.parametrize("inputs", [[{"name": "table"}], [], [{"name": "input"}, {"name": "b"}]])
async def test_inputs_that_were_declared_anew_after_the_job_was_accepted_are_told(
    parts: Assembly, site: methods_site.Site, inputs: list[dict[str, str]]
) -> None:
    """Inputs are no part of a function's hash, so the version is the same one."""
    wanted = claim(parts, "count", {"input": parts.kept.put(b"data")})
    site.install("count", {"main.py": "print('count')\n"}, inputs=inputs)
    parts.catalog.load()
    assert parts.catalog.current()["count"].function_hash == wanted.spec.function_hash
    with pytest.raises(launching.NotLaunchableError, match="other inputs"):
        await parts.launcher.launch(wanted)


async def test_inputs_that_were_looked_for_together_are_launched_by_that(
    parts: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [claim(parts, "count", {"input": parts.kept.put(data)}) for data in (b"a", b"b")]
    wanted.append(claim(parts, "count", {"input": "0" * 64}))
    silent = wanted[1].spec.inputs["input"]
    find = parts.kept.find

    def found(file_hash: str) -> pathlib.Path | None:
        if file_hash == silent:
            raise disk.no_answer("Stale file handle")
        return find(file_hash)

    with monkeypatch.context() as patched:
        patched.setattr(parts.kept, "find", found)
        await parts.launcher.look(wanted)
    launch = await parts.launcher.launch(wanted[0])
    assert launch.inputs["input"].read_bytes() == b"a"
    with pytest.raises(errors.NoAnswerError, match="Stale file handle"):
        await parts.launcher.launch(wanted[1])
    with pytest.raises(launching.NotLaunchableError):
        await parts.launcher.launch(wanted[2])
    await parts.launcher.look(wanted)
    launch = await parts.launcher.launch(wanted[1])
    assert launch.inputs["input"].read_bytes() == b"b"


async def test_a_version_that_the_disk_does_not_tell_of_is_not_gone(
    parts: Assembly, site: methods_site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("hello", {"main.py": "print('newer')\n"}, inputs=[])
    theirs = site.catalog()
    theirs.load()
    wanted = claim(parts, "hello", {})
    spec = dataclasses.replace(wanted.spec, function_hash=theirs.current()["hello"].function_hash)
    wanted = dataclasses.replace(wanted, spec=spec)

    def fail(*_: object) -> int:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", fail)
        with pytest.raises(errors.NoAnswerError):
            await parts.launcher.launch(wanted)
    launch = await parts.launcher.launch(wanted)
    assert launch.script.read_text() == "print('newer')\n"


async def test_a_version_that_another_server_has_just_loaded_is_launched(
    parts: Assembly, site: methods_site.Site
) -> None:
    site.install("hello", {"main.py": "print('newer')\n"}, inputs=[])
    theirs = site.catalog()
    theirs.load()
    newer = theirs.current()["hello"]
    wanted = claim(parts, "hello", {})
    spec = dataclasses.replace(wanted.spec, function_hash=newer.function_hash)
    launch = await parts.launcher.launch(dataclasses.replace(wanted, spec=spec))
    assert launch.script.read_text() == "print('newer')\n"
