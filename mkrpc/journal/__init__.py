"""Journals of a live run: what went into the pure objects of one process, in order."""
