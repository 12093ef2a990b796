"""Message channels, one in each file."""
