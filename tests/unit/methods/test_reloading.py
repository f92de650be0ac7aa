"""Reading the methods folder again: when it happens, and what is told of it."""

import asyncio
import contextlib
import pathlib
import threading
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from typing import Any

import pytest
import structlog

from dshpc_server.methods import catalog, errors, reloading
from support import methods_site

SECONDS = 20.0
NEVER = 0
AT_ONCE = 0.001

Logged = Sequence[MutableMapping[str, Any]]


class Loads:
    """A catalog's loads: counted, and held while a test says so."""

    def __init__(self, methods: catalog.Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
        self._load = methods.load
        self.begun: list[bool] = []
        """Of each load whether it passes over what has not changed."""
        self.ended = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.failure: Exception | None = None
        monkeypatch.setattr(methods, "load", self)

    def __call__(self, *, skip_unchanged: bool = False) -> catalog.LoadReport:
        self.begun.append(skip_unchanged)
        assert self.may_go_on.wait(SECONDS)
        try:
            if self.failure:
                raise self.failure
            return self._load(skip_unchanged=skip_unchanged)
        finally:
            self.ended += 1


class Running:
    """A catalog that is reloaded by a task."""

    def __init__(
        self, site: methods_site.Site, monkeypatch: pytest.MonkeyPatch, interval_seconds: float
    ) -> None:
        self.methods = site.catalog()
        self.asked = asyncio.Event()
        self.reloading = reloading.Reloading(
            self.methods, interval_seconds=interval_seconds, asked=self.asked
        )
        self.reloading.first()
        self.loads = Loads(self.methods, monkeypatch)

    async def ask(self) -> None:
        """Ask for a load and wait for it."""
        wanted = self.loads.ended + 1
        self.asked.set()
        await until(lambda: self.loads.ended >= wanted and not self.asked.is_set())


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not fact():  # noqa: ASYNC110 - facts of all kinds, some of another thread
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def running(
    site: methods_site.Site, monkeypatch: pytest.MonkeyPatch, interval_seconds: float = NEVER
) -> AsyncIterator[Running]:
    made = Running(site, monkeypatch, interval_seconds)
    task = asyncio.create_task(made.reloading.run())
    try:
        yield made
    finally:
        made.loads.may_go_on.set()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await until(lambda: made.loads.ended == len(made.loads.begun))


def told(logged: Logged, event: str) -> list[dict[str, Any]]:
    return [dict(line) for line in logged if line["event"] == event]


def version(text: str) -> dict[str, str]:
    return {"main.py": text}


def put(manifest: pathlib.Path, text: str) -> None:
    """Replace a manifest at one moment, so that no load sees half of it."""
    new = manifest.with_suffix(".new")
    new.write_text(text)
    new.rename(manifest)


async def test_asking_loads_what_was_changed_and_tells_it(
    site: methods_site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("changed", version("1"))
    site.install("removed", version("2"))
    async with running(site, monkeypatch) as made:
        site.install("added", version("3"))
        site.install("changed", version("4"))
        site.manifest_file("removed").unlink()
        with structlog.testing.capture_logs() as logged:
            await made.ask()
            await until(lambda: bool(told(logged, "methods.reloaded")))
        assert set(made.methods.current()) == {"added", "changed"}
    (line,) = told(logged, "methods.reloaded")
    assert (line["added"], line["changed"], line["removed"]) == (
        ("added",),
        ("changed",),
        ("removed",),
    )
    assert (line["methods"], line["broken"]) == (2, 0)


async def test_the_timer_loads_what_was_changed_without_being_asked(
    site: methods_site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(site, monkeypatch, AT_ONCE) as made:
        site.install()
        await until(lambda: "hello" in made.methods.current())
    assert all(made.loads.begun)


async def test_without_an_interval_only_asking_loads(
    site: methods_site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(site, monkeypatch, NEVER) as made:
        await made.ask()
        assert made.loads.begun == [False]


async def test_asking_reads_everything_also_between_turns_of_the_timer(
    site: methods_site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(site, monkeypatch, AT_ONCE) as made:
        await until(lambda: made.loads.ended > 1)
        assert made.loads.begun[:2] == [True, True]
        made.asked.set()
        await until(lambda: False in made.loads.begun)


async def test_however_many_ask_during_a_load_one_more_follows(
    site: methods_site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(site, monkeypatch) as made:
        made.loads.may_go_on.clear()
        made.asked.set()
        await until(lambda: len(made.loads.begun) == 1)
        site.install()  # after the first load began: the next one must see it
        for _ in range(20):
            made.asked.set()
        made.loads.may_go_on.set()
        await until(lambda: made.loads.ended == 2)
        assert set(made.methods.current()) == {"hello"}
        await made.ask()
        assert len(made.loads.begun) == 3


async def test_loads_never_overlap_however_fast_the_timer(
    site: methods_site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(site, monkeypatch, AT_ONCE) as made:
        made.loads.may_go_on.clear()
        await until(lambda: len(made.loads.begun) > made.loads.ended)
        for _ in range(50):
            await asyncio.sleep(0)
            assert len(made.loads.begun) == made.loads.ended + 1


async def test_what_is_broken_is_told_once_by_the_timer_and_again_when_it_changes(
    site: methods_site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("good")
    site.manifest_file("bad").write_text("{")
    async with running(site, monkeypatch, AT_ONCE) as made:
        with structlog.testing.capture_logs() as logged:
            await until(lambda: made.loads.ended > 3)
            assert told(logged, "method.broken") == []  # it was told at the start
            put(site.manifest_file("bad"), "{}")
            await until(lambda: bool(told(logged, "method.broken")))
            so_far = made.loads.ended
            await until(lambda: made.loads.ended > so_far + 3)
        assert set(made.methods.current()) == {"good"}
    (line,) = told(logged, "method.broken")
    assert line["file"] == str(site.manifest_file("bad"))
    assert line["reason"] == "name is missing"
    assert told(logged, "methods.reloaded") == []


async def test_what_was_repaired_and_breaks_anew_is_told_anew(
    site: methods_site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install()
    whole = site.manifest_file("hello").read_text()
    async with running(site, monkeypatch, AT_ONCE) as made:
        with structlog.testing.capture_logs() as logged:
            for _ in range(2):
                put(site.manifest_file("hello"), "{")
                await until(lambda: not made.methods.current())
                put(site.manifest_file("hello"), whole)
                await until(lambda: "hello" in made.methods.current())
    assert [line["reason"][:11] for line in told(logged, "method.broken")] == ["is not JSON"] * 2


async def test_whoever_asks_is_told_everything_that_is_broken(
    site: methods_site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.manifest_file("bad").write_text("{")
    async with running(site, monkeypatch) as made:
        with structlog.testing.capture_logs() as logged:
            await made.ask()
            await until(lambda: len(told(logged, "methods.reloaded")) == 1)
    assert [line["broken"] for line in told(logged, "methods.reloaded")] == [1]
    assert len(told(logged, "method.broken")) == 1


async def test_a_folder_that_cannot_be_read_is_told_once_and_the_methods_stay(
    site: methods_site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install()
    async with running(site, monkeypatch, AT_ONCE) as made:
        with structlog.testing.capture_logs() as logged:
            site.methods_dir.rename(site.methods_dir.with_name("aside"))
            await until(lambda: bool(told(logged, "methods.unreadable")))
            so_far = made.loads.ended
            await until(lambda: made.loads.ended > so_far + 3)
            assert set(made.methods.current()) == {"hello"}
            site.methods_dir.with_name("aside").rename(site.methods_dir)
            site.install("another")
            await until(lambda: set(made.methods.current()) == {"another", "hello"})
    (line,) = told(logged, "methods.unreadable")
    assert "No such file or directory" in line["reason"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), ValueError("a bug")])
async def test_a_load_that_fails_leaves_the_methods_and_the_next_one_works(
    site: methods_site.Site, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    site.install()
    async with running(site, monkeypatch) as made:
        made.loads.failure = failure
        with structlog.testing.capture_logs() as logged:
            await made.ask()
            await until(lambda: bool(logged))
        assert logged[0]["event"] in ("methods.unreadable", "methods.reload_failed")
        assert set(made.methods.current()) == {"hello"}
        made.loads.failure = None
        site.install("another")
        await made.ask()
        await until(lambda: "another" in made.methods.current())


def test_the_first_load_tells_what_is_there_and_what_is_broken(site: methods_site.Site) -> None:
    site.install()
    site.manifest_file("bad").write_text("{")
    methods = site.catalog()
    with structlog.testing.capture_logs() as logged:
        reloading.Reloading(methods, interval_seconds=NEVER, asked=asyncio.Event()).first()
    assert [line["event"] for line in logged] == ["method.broken", "methods.loaded"]
    assert (logged[1]["methods"], logged[1]["broken"]) == (1, 1)


def test_a_server_cannot_start_without_its_folder(site: methods_site.Site) -> None:
    methods = catalog.Catalog(site.methods_dir / "absent", site.snapshots_dir, site.clock)
    with pytest.raises(errors.MethodsDirError):
        reloading.Reloading(methods, interval_seconds=NEVER, asked=asyncio.Event()).first()
