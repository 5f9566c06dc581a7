"""Figures, each a function that returns a matplotlib Figure without a window.

Spectrograms have frequency upward and time to the right, in the units of the file. A cluster has
the same colour in every figure, see `style.cluster_colour`.
"""
