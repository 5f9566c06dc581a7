"""What a finished run shows: catalogue, comparison, choice of K, figures and the page of it all.

Everything here reads a run folder and its data file; nothing trains or changes a result.
"""
