"""A rehearsal: a server that speaks the chat-completions protocol, with rules in place of a model.

It costs nothing and fails on purpose, so that a pipeline can be tried before it is paid for.
"""
