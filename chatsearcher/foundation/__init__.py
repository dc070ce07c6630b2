"""Other people's models that this project calls: language models, captioners, picture services.

Each has a small protocol, so that an endpoint, a local model and a rule are the same to a caller.
"""
