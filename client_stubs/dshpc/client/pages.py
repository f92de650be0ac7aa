"""What every paged call has, whatever its rows are."""

from typing import Protocol, TypeVar


class PageRequest(Protocol):
    """Asks for a page."""

    page_token: str


class Page(Protocol):
    """A page of an answer; another follows when it has a token."""

    next_page_token: str


PageRequestT = TypeVar("PageRequestT", bound=PageRequest)
PageT = TypeVar("PageT", bound=Page)
