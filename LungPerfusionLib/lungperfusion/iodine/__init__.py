"""Iodine maps: decomposition, scores, defects, and the CT signs around them."""
