"""Training data: sources of samples, mixing, packing, and the loaders of both trainings."""
