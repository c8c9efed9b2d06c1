"""The commands: arguments, reading, the analysis, writing; one file per command."""
