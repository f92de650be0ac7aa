"""Which version of a method a row runs: that of the request's begin, or the one it names."""

from collections.abc import Iterator, Sequence
from typing import overload

from dshpc_server.batches import resolver
from support import methods_site
from support.batches_assembly import Assembly, job
from support.batches_prepared import Asked, candidate, prepare, refusal


class Reloading(Sequence[Asked]):
    """Rows that change the installed method while they are walked."""

    def __init__(self, parts: Assembly, site: methods_site.Site, rows: Sequence[Asked]) -> None:
        self._parts = parts
        self._site = site
        self._rows = rows

    def __iter__(self) -> Iterator[Asked]:
        for row in self._rows:
            yield row
            self._site.install("hello", {"main.py": f"print({row.index})\n"}, inputs=[])
            self._parts.catalog.load()

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Asked: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Asked]: ...
    def __getitem__(self, index: int | slice) -> Asked | Sequence[Asked]:
        return self._rows[index]


async def test_a_reload_in_the_middle_of_a_request_does_not_change_its_version(
    parts: Assembly, site: methods_site.Site
) -> None:
    before = parts.catalog.current()["hello"].function_hash
    rows = Reloading(parts, site, [job(index, n=index) for index in range(3)])
    batch = await parts.prepare(rows)
    assert {row.candidate and row.candidate.spec.function_hash for row in batch.rows} == {before}
    (after,) = await prepare(parts, job(n=0))
    assert after.candidate is not None
    assert after.candidate.spec.function_hash != before
    accepted = await parts.resolver.accept(resolver.Prepared(batch=batch, on_disk=[]))
    assert {row.attempt and row.attempt.function_hash for row in accepted} == {before}


async def test_a_pinned_version_is_run_also_when_it_is_not_the_newest(
    parts: Assembly, site: methods_site.Site
) -> None:
    before = parts.catalog.current()["hello"].function_hash
    site.install("hello", {"main.py": "print('newer')\n"}, inputs=[])
    parts.catalog.load()
    newest = parts.catalog.current()["hello"].function_hash
    pinned = await candidate(parts, job(function_hash=before))
    assert pinned.spec.function_hash == before
    assert (await candidate(parts, job(function_hash=newest))).spec.function_hash == newest
    assert (await candidate(parts, job())).spec.function_hash == newest
    (refused,) = await prepare(parts, job(function_hash="f" * 64))
    assert refusal(refused).message == f"Method 'hello' has no version {'f' * 64}"
    (foreign,) = await prepare(parts, job(method="count", function_hash=before))
    assert "has no version" in refusal(foreign).message


async def test_two_versions_in_one_request_have_their_own_parameters(
    parts: Assembly, site: methods_site.Site
) -> None:
    hashes = []
    for default in (1, 2):
        declared = {"name": "n", "type": "integer", "required": False, "default": default}
        site.install("one", {"main.py": f"print({default})\n"}, inputs=[], parameters=[declared])
        parts.catalog.load()
        hashes.append(parts.catalog.current()["one"].function_hash)
    rows = await prepare(
        parts, *(job(i, method="one", function_hash=hashes[i % 2]) for i in range(4))
    )
    completed = [row.candidate and row.candidate.spec.parameters_json for row in rows]
    assert completed == ['{"n":1}', '{"n":2}'] * 2


async def test_a_pinned_version_that_another_server_has_loaded_is_run(
    parts: Assembly, site: methods_site.Site
) -> None:
    site.install("hello", {"main.py": "print('newer')\n"}, inputs=[])
    theirs = site.catalog()
    theirs.load()
    newer = theirs.current()["hello"].function_hash
    assert parts.catalog.version("hello", newer) is None
    found = await candidate(parts, job(n=1, function_hash=newer))
    assert found.spec.function_hash == newer
