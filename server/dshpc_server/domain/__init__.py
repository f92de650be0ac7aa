"""Pure rules: identity, lifecycle, look-up, statistics. No I/O, no asyncio, no SQL, no gRPC."""
