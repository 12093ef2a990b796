"""Generated from proto/mkrpc/v1; never edited."""
