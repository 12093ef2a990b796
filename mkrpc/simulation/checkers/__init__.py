"""What must hold in every simulated run, one law in each file."""
