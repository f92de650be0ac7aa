"""Whether a store and a data folder belong together, and what is to be done if nobody knows yet.

A deployment is one store with its one data folder. Each has a place for the deployment's id: a
random word, made when the two are first used together, and the same in both from then on. Promises:
what belongs to two deployments is never put together; what could belong to two only is when nothing
can be lost by it.
"""

import dataclasses
import enum
import re

_ID = re.compile(r"[0-9a-f]{32}")


class Decision(enum.StrEnum):
    """What follows from how store and data folder stand to each other."""

    SAME = "they belong together"
    MAKE = "neither has an id; a new one is for both"
    GIVE_FOLDER = "the data folder is to have the store's id"
    GIVE_STORE = "the store is to have the data folder's id"
    DIFFERENT = "each belongs to another deployment"
    OTHER_FOLDER = "the store has its data folder elsewhere"
    OTHER_STORE = "the data folder has its store elsewhere"
    EMPTY_FOLDER = "the store has no id and is in use, and no server has used the data folder"

    @property
    def is_refusal(self) -> bool:
        """Whether the two are not to be used together."""
        return self in _REFUSALS


_REFUSALS = frozenset(
    {Decision.DIFFERENT, Decision.OTHER_FOLDER, Decision.OTHER_STORE, Decision.EMPTY_FOLDER}
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How a store and a data folder stand to each other at one moment."""

    store_id: str | None
    """The deployment_id that the store has."""
    folder_id: str | None
    """The deployment_id that the data folder has."""
    is_begun: bool
    """The store's id was made for this folder, which has not got it yet: a start was cut short."""
    store_is_new: bool
    """It has no id, and nothing was ever stored in it."""
    folder_is_new: bool
    """It has no id, and no server has used it."""
    store_lies_inside: bool
    """The store's database is a file in the data folder."""


def decide(standing: Standing) -> Decision:
    """Return what follows."""
    if standing.store_id is not None and standing.folder_id is not None:
        return Decision.SAME if standing.store_id == standing.folder_id else Decision.DIFFERENT
    if standing.store_id is not None:
        # A database that was moved into an empty folder by itself has lost its content.
        is_its_own = standing.store_lies_inside and not standing.folder_is_new
        is_known = standing.is_begun or is_its_own
        return Decision.GIVE_FOLDER if is_known else Decision.OTHER_FOLDER
    if standing.folder_id is not None:
        # An older version's store, put back where it was.
        is_its_own = standing.store_lies_inside and not standing.store_is_new
        return Decision.GIVE_STORE if is_its_own else Decision.OTHER_STORE
    # An older version knew no ids: its store and its folder are taken together as they come.
    is_elsewhere = standing.folder_is_new and not standing.store_lies_inside
    if is_elsewhere and not standing.store_is_new:
        return Decision.EMPTY_FOLDER
    return Decision.MAKE


def is_id(text: str) -> bool:
    """Whether this can be a deployment_id."""
    return _ID.fullmatch(text) is not None
