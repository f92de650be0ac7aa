"""A store and a data folder are held to belong together, by an id that both have.

    DATA_DIR/deployment_id          the id, in hex, on one line
    DATA_DIR/.deployment_id-WORD    an id that a server proposes, until one is the deployment's

Promises: servers that start at one moment on a store and a folder that are new agree on one id; a
start that is cut off anywhere is gone on with by the next; nothing that has an id loses it.

The store decides which of the proposed ids it is to be. The folder where that one was proposed is
its folder, and gets it by a link, which replaces nothing: so nothing is bound twice, whatever
starts at the same moment. What the two say of each other, `domain.deployment` decides.
"""

import contextlib
import os
import pathlib
import tempfile
import uuid
from collections.abc import Callable, Mapping

from dshpc_server import disk, errors
from dshpc_server.domain import deployment
from dshpc_server.domain.deployment import Decision, Standing
from dshpc_server.files import folders
from dshpc_server.store import port

NAME = "deployment_id"
"""The file in the data folder."""
_PROPOSED_PREFIX = f".{NAME}-"
# More than an id has; what else lies there is not read to its end.
_LONGEST_BYTES = 100
_TOLD = {
    Decision.DIFFERENT: (
        "{store} belongs to deployment {store_id}, and data_dir {folder} to deployment "
        "{folder_id}: set --store and --data-dir to what belongs together"
    ),
    Decision.OTHER_FOLDER: (
        "{store} belongs to deployment {store_id}, and data_dir {folder} does not say so: set "
        "--data-dir to the folder of that deployment; where this is it, put back without its file "
        "deployment_id, write {store_id} into {file}"
    ),
    Decision.OTHER_STORE: (
        "data_dir {folder} belongs to deployment {folder_id}, and {store} to none: set --store to "
        "the store of that deployment, or --data-dir to a new folder; where this is it, put back "
        "from before it had an id, remove {file}"
    ),
    Decision.EMPTY_FOLDER: (
        "{store} has been used, and data_dir {folder} has not: set --data-dir to the folder that "
        "was used with it; where that is lost, make {folder}/files to go on without it"
    ),
}


class MismatchError(errors.DshpcError):
    """A store and a data folder that are not to be used together."""

    def __init__(
        self, decision: Decision, standing: Standing, *, store: str, data_dir: pathlib.Path
    ) -> None:
        told = _TOLD[decision].format(
            store=store,
            store_id=standing.store_id,
            folder=data_dir,
            folder_id=standing.folder_id,
            file=data_dir / NAME,
        )
        super().__init__(told)
        self.decision = decision
        self.standing = standing


class NoIdError(errors.DshpcError):
    """What should be a data folder's deployment_id is something else."""

    def __init__(self, file: pathlib.Path) -> None:
        super().__init__(f"{file} holds no deployment_id, 32 hexadecimal digits; put it back")
        self.file = file


def settle(
    store: port.Store, data_dir: pathlib.Path, new_id: Callable[[], str] = lambda: uuid.uuid4().hex
) -> str:
    """Have the two belong together from now on, if they may; return the deployment_id.

    Raises what `require` does, OSError, and what a store does that cannot be written.
    """
    while True:  # every step but a refusal leads on, whoever takes it
        standing = look(store, data_dir)
        match deployment.decide(standing):
            case Decision.SAME:
                _clear(data_dir)
                return str(standing.store_id)
            case Decision.MAKE:
                _propose(store, data_dir, new_id())
            case Decision.GIVE_FOLDER:
                _give(data_dir, str(standing.store_id))
            case Decision.GIVE_STORE:
                store.keep_deployment_id(str(standing.folder_id))
            case _:
                refuse(standing, store=store.address, data_dir=data_dir)


def require(store: port.Deployed, data_dir: pathlib.Path) -> None:
    """Change nothing. Raises MismatchError unless the two belong together, or may.

    Also NoIdError, and OSError where it cannot be told.
    """
    refuse(look(store, data_dir), store=store.address, data_dir=data_dir)


def refuse(standing: Standing, *, store: str, data_dir: pathlib.Path) -> None:
    """Raise MismatchError if that follows from how the two stand to each other."""
    decision = deployment.decide(standing)
    if decision.is_refusal:
        raise MismatchError(decision, standing, store=store, data_dir=data_dir)


def look(store: port.Deployed, data_dir: pathlib.Path) -> Standing:
    """Return how the two stand to each other. Raises NoIdError, OSError.

    A server that starts at this moment gives the store its id first, then the folder. So the folder
    is looked at between two looks at the store that tell the same.
    """
    store_id = store.find_deployment_id()
    while True:
        # What is proposed goes only after the folder has its id, so that is looked at last.
        is_begun = store_id in _proposed(data_dir).values()
        folder_id = folder_has(data_dir)
        before, store_id = store_id, store.find_deployment_id()
        if store_id == before:
            break
    return Standing(
        store_id=store_id,
        folder_id=folder_id,
        is_begun=is_begun,
        store_is_new=store_id is None and store.is_new(),
        folder_is_new=folder_id is None and not _has_files(data_dir),
        store_lies_inside=store.lies_in(data_dir),
    )


def folder_has(data_dir: pathlib.Path) -> str | None:
    """Return a data folder's deployment_id, if it has one. Raises NoIdError, OSError."""
    text = _text(data_dir / NAME)
    if text is not None and not deployment.is_id(text):
        raise NoIdError(data_dir / NAME)
    return text


def _propose(store: port.Store, data_dir: pathlib.Path, own: str) -> None:
    # On disk before it is in the store: else nobody could tell whose folder this is.
    path = _write(data_dir, own)
    if store.keep_deployment_id(own) != own:
        path.unlink(missing_ok=True)


def _give(data_dir: pathlib.Path, deployment_id: str) -> None:
    found = [path for path, text in _proposed(data_dir).items() if text == deployment_id]
    path = found[0] if found else _write(data_dir, deployment_id)
    with contextlib.suppress(FileNotFoundError):  # another server has done this, and cleared
        folders.name(path, data_dir / NAME)


def _clear(data_dir: pathlib.Path) -> None:
    """Remove what was proposed, once the folder's id is there to stay."""
    found = _proposed(data_dir)
    if found:
        disk.fsync_folder(data_dir)
    for path in found:
        path.unlink(missing_ok=True)


def _proposed(data_dir: pathlib.Path) -> Mapping[pathlib.Path, str]:
    try:
        found = [path for path in data_dir.iterdir() if path.name.startswith(_PROPOSED_PREFIX)]
    except disk.ABSENT:
        return {}
    texts = {path: _text(path) for path in found}
    return {path: text for path, text in texts.items() if text is not None}


def _has_files(data_dir: pathlib.Path) -> bool:
    """Whether there is what every server makes that uses a data folder."""
    try:
        (data_dir / "files").stat()
    except disk.ABSENT:
        return False
    return True


def _text(path: pathlib.Path) -> str | None:
    """Return what a file says, None when it is not there."""
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST_BYTES).decode("ascii", "replace").strip()
    except disk.ABSENT:
        return None


def _write(data_dir: pathlib.Path, deployment_id: str) -> pathlib.Path:
    """Write a proposal, durably."""
    descriptor, name = tempfile.mkstemp(prefix=_PROPOSED_PREFIX, dir=data_dir)
    path = pathlib.Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(f"{deployment_id}\n".encode())
            file.flush()
            os.fsync(descriptor)
        disk.fsync_folder(data_dir)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path
