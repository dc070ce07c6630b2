"""Fashion IQ (Wu et al., CVPR 2021): one turn, dialogues, relative captioning.

``files`` reads what the authors publish; ``single`` has the four protocols of one turn,
``dialogue`` the five turns with a simulated user (``simulators``), ``captions`` relative
captioning.
"""
