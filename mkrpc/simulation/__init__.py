"""The whole machine in one thread: the same pure objects, no transport."""
