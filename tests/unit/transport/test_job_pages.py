"""Places in a listing as page tokens: they lead on, and a foreign one is refused."""

import base64
import datetime
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from dshpc_server import errors
from dshpc_server.store import records
from dshpc_server.transport import moments, pages
from support import store_values

ASKED: tuple[object, ...] = ("jobs", [], "")
NAME = store_values.sha("job")


@hypothesis.given(
    st.datetimes(timezones=st.just(datetime.UTC), min_value=datetime.datetime(1970, 1, 1))  # noqa: DTZ001 - hypothesis adds the zone
)
def test_a_place_comes_back_from_its_token(at: datetime.datetime) -> None:
    place = records.ListPosition(at=at, name=NAME)
    assert pages.place(pages.token(place, *ASKED), *ASKED) == place
    assert moments.moment(moments.microseconds(at)) == at


def test_no_token_is_the_beginning() -> None:
    assert pages.place("", *ASKED) is None


@pytest.mark.parametrize(
    "place",
    [
        7,
        "name",
        [],
        [1],
        [1, NAME, 2],
        ["1", NAME],
        [1, "name"],
        [1, 2],
        [2**80, NAME],
        [-(2**80), NAME],
        [1.5, NAME],
        [None, NAME],
        {"at": 1},
    ],
)
def test_a_forged_place_is_refused(place: object) -> None:
    made = pages.token(0, *ASKED)
    _, checksum = json.loads(base64.urlsafe_b64decode(made + "=" * (-len(made) % 4)))
    forged = base64.urlsafe_b64encode(json.dumps([place, checksum]).encode()).decode()
    with pytest.raises(errors.InvalidRequestError, match="page_token"):
        pages.place(forged, *ASKED)


def test_a_token_of_another_listing_is_refused() -> None:
    place = records.ListPosition(at=store_values.NOON, name=NAME)
    for other in [("files",), ("jobs", [3], ""), ("jobs", [], "count")]:
        with pytest.raises(errors.InvalidRequestError, match="page_token"):
            pages.place(pages.token(place, *other), *ASKED)
    with pytest.raises(errors.InvalidRequestError, match="page_token"):
        pages.index(pages.token(place, *ASKED), *ASKED)
