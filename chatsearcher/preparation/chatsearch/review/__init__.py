"""Stage ``review``: people look at the test split; the final test set is built from what they say.

The paper's two rules (section 3.2): *quality*, the pictures are clear, concise and harmless;
*relevance*, the dialogue's words and pictures hang together.
"""
