"""Runs recorded processes again: the same pure objects, given the same inputs, in one thread."""
