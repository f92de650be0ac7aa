"""One servicer for each service of the contract: unpack, call, pack."""
