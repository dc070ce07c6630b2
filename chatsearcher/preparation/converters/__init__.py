"""One file per published set: from its own layout into this project's records."""
