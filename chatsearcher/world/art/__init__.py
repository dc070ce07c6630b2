"""How the picture world is drawn: vector outlines, their rasterisation, layout and backdrops."""
