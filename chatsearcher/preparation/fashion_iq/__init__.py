"""Fashion IQ as it was built: pairs by titles, attributes by words, the predictor's data."""
