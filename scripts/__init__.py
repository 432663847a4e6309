"""The tools of FrugalFM: check, import, new, build, serve. Run them as `python -m scripts COMMAND`."""
