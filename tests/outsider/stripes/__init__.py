"""A package that adds a task, a data set and a backend to refca, through the entry points in its metadata."""
