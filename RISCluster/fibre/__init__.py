"""Cubes of (time, channel, frequency): read as spectrograms, and made out of records."""
