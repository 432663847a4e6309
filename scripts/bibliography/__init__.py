"""Bibliographic formats in and out: BibTeX, CSV, RIS, CSL-JSON; names and LaTeX text."""
