"""The contract `dshpc.v1`, generated from `protos/dshpc/v1` by `make protos`."""
