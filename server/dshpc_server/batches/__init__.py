"""Use cases: resolve a batch, dispatch its jobs, take in their ends, tell those who watch."""
