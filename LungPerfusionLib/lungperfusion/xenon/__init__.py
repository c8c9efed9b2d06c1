"""Hyperpolarised 129Xe MRI: ratio maps, their classes, and the join with the lobes of a CT."""
