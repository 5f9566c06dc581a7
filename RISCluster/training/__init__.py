"""The three stages' loops, and encoding a whole data set in order. Nothing here draws or scores."""
