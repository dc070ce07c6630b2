"""What the retrievers share that encode words and pictures apart, into one space.

``options`` says what of a dialogue becomes the query, and reads it from a spec; ``encoder`` puts
the vectors of a dialogue's words and pictures together.
"""
