"""The server's only door: the gRPC service `aircheck.v1` decodes recordings and sends their windows to Triton."""
