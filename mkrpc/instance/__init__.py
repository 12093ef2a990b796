"""One kernel instance: CPUs, what runs on them, and what a person reads of it."""
