"""Xenon MRI as pipelines and scanners leave it: maps, masks, colour images, tables and headers."""
