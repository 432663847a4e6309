"""The bench: runs the cases that the families declare, and records every sample. Needs torch and numpy, no more."""
