"""Whether the data folder is the store's own: else nothing in the one tells of the other."""

import pathlib
from collections.abc import Iterator, Sequence

from dshpc_server import deployment
from dshpc_server.checking import looks
from dshpc_server.checking.findings import Finding
from dshpc_server.store.inspection import Inspection, Rule

FOLDER = Rule(
    name="folder_is_of_the_store",
    broken="data_dir is not the folder of this store, and what lies there was not looked at",
)


class Deployment:
    """Both have the same deployment_id, or may get it."""

    rules = looks.by_name(FOLDER)

    def __init__(self, store: Inspection, data_dir: pathlib.Path) -> None:
        self._store = store
        self._data_dir = data_dir

    def pages(self) -> Iterator[Sequence[str]]:
        """See `looks.Look`; there is one name."""
        yield ["deployment"]

    def examine(self, names: Sequence[str]) -> Sequence[looks.Found]:
        """See `looks.Look`."""
        try:
            deployment.require(self._store, self._data_dir)
        except deployment.MismatchError as error:
            store_id, folder_id = error.standing.store_id, error.standing.folder_id
            which = (("store", store_id or "none"), ("folder", folder_id or "none"))
            return [(name, Finding(rule=FOLDER, which=which)) for name in names]
        return []
