"""The analyses: objects in, an `Analysis` out; no arguments of a command line, no files."""
