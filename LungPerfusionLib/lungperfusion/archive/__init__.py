"""Results of one case as DICOM objects beside the study that was measured."""
