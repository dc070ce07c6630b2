"""Other people's evaluators, running on this project's systems.

``lmms_model`` is a model of ``lmms-eval`` (extra ``lmms``), ``mteb_encoder`` an encoder of MTEB
(extra ``mteb``). Each imports its library at the top, so that nothing here is imported before it is
asked for. ``content`` turns what they hand over into dialogues.
"""
