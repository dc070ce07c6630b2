"""The picture world: a seeded, procedural source of pictures whose whole truth is known."""
