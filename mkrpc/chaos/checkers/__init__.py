"""What must hold when the faults have stopped and all is at rest."""
