"""The store: the only truth about batches, jobs, attempts and files."""
