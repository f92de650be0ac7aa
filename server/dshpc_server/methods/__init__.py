"""Methods: what an administrator installs and a job runs."""
