"""What comes out of a run: metrics, choice of K, labels, figures; training imports none of it."""
