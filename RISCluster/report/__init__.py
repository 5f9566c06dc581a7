"""A page: texts, tables and pictures as one self-contained HTML file; knows nothing of clusters."""

"""The report of a finished run: a section a topic, out of evaluation, catalogue and figures.

Nothing here, nor in what it is made of, trains or changes a result.
"""
