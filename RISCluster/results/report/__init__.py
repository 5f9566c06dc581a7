"""The report of a finished run: a section a topic, out of evaluation, catalogue and figures.

Nothing here, nor in what it is made of, trains or changes a result.
"""
