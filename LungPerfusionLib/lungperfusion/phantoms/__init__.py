"""Digital chests with analytic truth: demo, test and sample data."""
