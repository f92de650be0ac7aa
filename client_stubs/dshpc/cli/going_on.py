"""What is said when a command ends before its batch: how to go on with it, and how to stop it."""

from dshpc.cli import tree


def watch(batch_id: str, *, target: str) -> str:
    """Return how to go on with a batch."""
    return f"'{tree.command_line(target, 'batch', 'watch', batch_id)}' goes on with it"


def stop(batch_id: str, *, target: str) -> str:
    """Return how to stop a batch."""
    return f"'{tree.command_line(target, 'batch', 'cancel', batch_id)}' stops it"
