"""What a recipe needs before it is run: memory by kind, ZeRO stage, micro-batch, arithmetic.

Everything is computed from configurations: the networks are built without storage, so a plan for
eight GPUs is made on a laptop, without weights and without a network.
"""
