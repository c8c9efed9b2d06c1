"""Lungs, airways, lobes, zones: found in CT, imported or corrected."""
