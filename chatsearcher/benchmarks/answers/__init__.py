"""Questions about one picture, answered in words: VQAv2, GQA, MMBench, SEED-Bench.

``asking`` puts the questions to a system and concludes; each benchmark is a file with its own
rules. Answers made elsewhere come in the benchmark's own submission format.
"""
