"""A finished run as it is read again: its stages, their models, the names of its clusters."""
