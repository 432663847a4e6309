"""What the data files mean and how they are read: vocabulary, model, reader, checks."""
