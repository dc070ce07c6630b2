"""``make demo``: a small gallery of the picture world and a scripted conversation over it.

Only what the user says is scripted (``conversation.jsonl``); every answer comes from the model.
"""
