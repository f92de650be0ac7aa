"""Content on disk, addressed by its SHA-256."""
