"""The fake Slurm sends what --signal asks for, when the real one does: to the batch shell alone."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from support import fake_slurm
from support.fake_slurm import FakeSlurm
from support.fake_slurm_site import Site, until

_TRAPPING = """\
trap 'echo >> "told.$SLURM_ARRAY_TASK_ID"' USR1
echo > "up.$SLURM_ARRAY_TASK_ID"
while :; do sleep 0.02; echo >> "beats.$SLURM_ARRAY_TASK_ID"; done
"""
_WARNED = ("--time=5", "--signal=B:USR1@65535")


@contextlib.contextmanager
def site_of(folder: pathlib.Path, **settings: Any) -> Iterator[tuple[FakeSlurm, Site]]:  # noqa: ANN401 - by name
    given = {"kill_wait_seconds": 0.1, "warn_seconds": 0.05} | settings
    with fake_slurm.running(folder / "slurm", **given) as fake:
        yield fake, Site(fake, folder / "site")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeSlurm, Site]]:
    with site_of(tmp_path_factory.mktemp("asked")) as made:
        yield made


def up(site: Site, *indexes: int) -> None:
    """Wait until these tasks have got as far as they say."""
    until(lambda: all((site.folder / f"up.{index}").exists() for index in indexes))


def told(site: Site, index: int) -> int:
    """How often a task was sent the signal."""
    path = site.folder / f"told.{index}"
    return len(path.read_text().splitlines()) if path.exists() else 0


def beats(site: Site) -> list[str]:
    """A line for each 0.02 s, or more, that the first task was up."""
    return (site.folder / "beats.0").read_text().splitlines()


def kept_from_it(fake: FakeSlurm, site: Site) -> None:
    """Have a task run that would have been sent it, but that the controller is down."""
    site.submit(f"until [ -e go ]; do sleep 0.02; done; {_TRAPPING}", "--array=0", *_WARNED)
    until(lambda: fake.tasks[0].pid)
    fake.down()
    (site.folder / "go").touch()
    until((site.folder / "beats.0").exists)


def test_each_task_is_sent_it_once(tmp_path: pathlib.Path) -> None:
    with site_of(tmp_path) as (_, site):
        site.submit(_TRAPPING, "--array=0-1", *_WARNED)
        until(lambda: told(site, 0) and told(site, 1))
        # Of one that began later it is known that time enough for another has gone by.
        site.submit(_TRAPPING, "--array=2", *_WARNED)
        until(lambda: told(site, 2))
        assert [told(site, index) for index in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    "options",
    [
        ("--time=5", "--signal=USR1@65535"),  # to the steps, and there is none
        ("--time=5", "--signal=R:USR1@65535"),
        ("--time=5", "--signal=B:USR1@60"),  # not yet
        ("--time=5", "--signal=B:USR1"),  # the same
        ("--time=0", "--signal=B:USR1@65535"),  # before a limit that there is not
        ("--signal=B:USR1@65535",),
    ],
)
def test_some_are_not_sent_it(tmp_path: pathlib.Path, options: tuple[str, ...]) -> None:
    with site_of(tmp_path) as (_, site):
        site.submit(_TRAPPING, "--array=0", *options)
        up(site, 0)
        site.submit(_TRAPPING, "--array=1", *_WARNED)
        until(lambda: told(site, 1))
        assert told(site, 0) == 0


def test_it_comes_so_long_before_the_time_limit(tmp_path: pathlib.Path) -> None:
    with site_of(tmp_path, minute_seconds=1.0) as (_, site):
        site.submit(_TRAPPING, "--array=0", "--time=1", "--signal=B:USR1@30")
        until(lambda: "1_0 TIMEOUT TimeLimit" in site.squeue())
        assert told(site, 0) == 1


def test_it_can_be_lost(tmp_path: pathlib.Path) -> None:
    with site_of(tmp_path, minute_seconds=0.1, warn_seconds=None) as (_, site):
        site.submit(_TRAPPING, "--array=0", "--time=5", "--signal=B:USR1@65535")
        until(lambda: "1_0 TIMEOUT TimeLimit" in site.squeue())
        assert told(site, 0) == 0


def test_a_controller_that_is_down_sends_it_when_it_is_back(tmp_path: pathlib.Path) -> None:
    with site_of(tmp_path) as (fake, site):
        kept_from_it(fake, site)
        until(lambda: len(beats(site)) > 20)  # long enough to be sent it
        assert told(site, 0) == 0
        fake.up()
        until(lambda: told(site, 0) == 1)


def test_a_suspended_task_is_sent_it_when_it_goes_on(tmp_path: pathlib.Path) -> None:
    with site_of(tmp_path) as (fake, site):
        kept_from_it(fake, site)
        fake.suspend("1_0")
        fake.up()
        site.submit(_TRAPPING, "--array=1", *_WARNED)
        until(lambda: told(site, 1))
        assert told(site, 0) == 0
        fake.resume("1_0")
        until(lambda: told(site, 0) == 1)


def test_what_is_forgotten_in_a_crash_is_not_sent_it(tmp_path: pathlib.Path) -> None:
    with site_of(tmp_path) as (fake, site):
        kept_from_it(fake, site)
        fake.crash(within_seconds=1000.0)
        fake.up()
        site.submit(_TRAPPING, "--array=1", *_WARNED)
        until(lambda: told(site, 1))
        assert told(site, 0) == 0


# What is refused, and what is not, is what sbatch of Slurm 22.05 was seen to do.
@pytest.mark.parametrize(
    "form",
    [
        *("", "@5", "B:@10", "B:NOPE@10", "B:0@10", "BUS@5", "B:CHLD", "Q:USR1", "R:B:USR1@3"),
        *("B::USR1", "BB:USR1", "B:USR1:10", "B:USR1@x", "B:USR1@-1", "B:USR1@10x"),
        *("B:USR1@65536", "B:USR1@65535 ", " B:USR1@10", "USR1@5@6"),
    ],
)
def test_forms_that_sbatch_does_not_know_are_refused(
    asked: tuple[FakeSlurm, Site], form: str
) -> None:
    fake, site = asked
    before = len(fake.submissions)
    code, out, error = site.call(*site.sbatch_words("true", "--time=1", f"--signal={form}"))
    assert (code, out) == (255, "")
    assert error == "sbatch: error: Invalid --signal specification\n"
    assert len(fake.submissions) == before


@pytest.mark.parametrize(
    "form",
    [
        *("USR1", "USR1@65535", "10@10", "R:USR1@10", "B:USR1", "B:SIGusr1", "b:usr1@10", "B:10"),
        *("BR:USR1@10", "RB:USR1@3", "BUSR1@10", "B: USR1 @ 10", "B:USR1@", "B:USR1@0", "B:TERM"),
    ],
)
def test_forms_that_sbatch_knows_are_taken(asked: tuple[FakeSlurm, Site], form: str) -> None:
    fake, site = asked
    site.submit("true", "--time=1", f"--signal={form}")
    assert fake.submissions[-1].options["signal"] == form
