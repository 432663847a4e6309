"""What contributors and maintainers do with the data files: review, repair, merge, take in, archive."""
