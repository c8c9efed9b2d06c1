"""Pulmonary vessels: where they run, how wide they are, how much blood each width holds."""
