"""Recorded scenarios of real implementations, replayed and scored on the model."""
