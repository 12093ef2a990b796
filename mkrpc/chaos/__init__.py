"""Faults on real processes under load, and what must hold after them."""
