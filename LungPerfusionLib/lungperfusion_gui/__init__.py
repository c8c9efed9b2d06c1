"""What the three modules share: life cycle, computation in the background, display, correction."""
