"""The two texts, each whole in one runnable file that imports nothing of refca but its data."""
