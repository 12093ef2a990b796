"""The host agent: the one process of a cluster that starts others."""
