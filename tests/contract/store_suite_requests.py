"""What every store does with requests that have a name."""

import asyncio

import pytest

from dshpc_server.domain.job import Outcome
from dshpc_server.store import committer
from dshpc_server.store.port import RequestAcceptedError, Store, Writer
from dshpc_server.store.records import AcceptedRequest, Row
from support import store_values as v


class Naming:
    def test_a_named_request_is_found_with_its_batch(self, store: Store) -> None:
        name = v.request_name(1)
        v.accept(store, v.batch("b", "job", request=name))
        assert store.find_request(name.request_id) == AcceptedRequest(name=name, batch_id="b")
        assert store.find_request(v.request_name(2).request_id) is None

    def test_a_name_is_accepted_once_and_tells_its_batch(self, store: Store) -> None:
        name = v.request_name(1)
        v.accept(store, v.batch("first", "job", request=name))
        for asked in (name, v.request_name(1, asked="something else")):
            with pytest.raises(RequestAcceptedError) as refused:
                v.accept(store, v.batch("second", "other", request=asked))
            assert refused.value.accepted == AcceptedRequest(name=name, batch_id="first")
        assert not store.has_batch("second")
        assert store.find_attempts([v.sha("other")]) == {}

    def test_requests_without_a_name_are_as_many_as_are_asked(self, store: Store) -> None:
        for batch_id in ("a", "b"):
            v.accept(store, v.batch(batch_id, "job"))
            assert store.has_batch(batch_id)

    def test_a_batch_that_exists_is_an_error_whatever_its_request_is_called(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("b", "job", request=v.request_name(1)))
        with pytest.raises(ValueError, match="batch 'b' exists"):
            v.accept(store, v.batch("b", "job", request=v.request_name(2)))

    def test_a_preview_takes_no_name(self, store: Store) -> None:
        name = v.request_name(1)
        store.preview(v.batch("", "job", request=name))
        assert store.find_request(name.request_id) is None

    async def test_of_many_with_one_name_at_once_one_is_accepted(self, store: Store) -> None:
        name = v.request_name(1)

        def accept(writer: Writer, number: int) -> list[Row]:
            return list(writer.accept(v.batch(f"b{number}", "job", request=name)))

        async with committer.Committer(store, on_changes=lambda _: None) as shared:
            answers = await asyncio.gather(
                *(shared.write(lambda writer, n=n: accept(writer, n)) for n in range(20)),  # type: ignore[misc] # its own n
                return_exceptions=True,
            )
        accepted = [answer for answer in answers if isinstance(answer, list)]
        refused = [answer for answer in answers if isinstance(answer, RequestAcceptedError)]
        assert [row.outcome for rows in accepted for row in rows] == [Outcome.SUBMITTED]
        found = store.find_request(name.request_id)
        assert [error.accepted for error in refused] == [found] * 19
