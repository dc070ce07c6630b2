"""The training room: recipes, objectives and the one loop that runs them all."""
