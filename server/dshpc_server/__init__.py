"""The dshpc server: a gRPC service that runs and remembers batches of scientific jobs."""
