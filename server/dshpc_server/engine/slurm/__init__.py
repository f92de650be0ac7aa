"""The Slurm engine: attempts as tasks of job arrays, on a cluster that shares the data folder."""
