"""The edge: the only place that knows gRPC and the generated contract."""
