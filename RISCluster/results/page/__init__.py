"""A page: texts, tables and pictures as one self-contained HTML file; knows nothing of clusters."""
