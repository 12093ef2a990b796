"""The scenarios that come with mkrpc: one file, one class, one name each."""
