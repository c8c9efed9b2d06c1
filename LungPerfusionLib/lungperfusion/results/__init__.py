"""Results as files: tables, JSON, maps, segmentations and the report."""
