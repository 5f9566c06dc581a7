"""Waveforms: found, downloaded, processed, and cut into the spectrograms of a data set."""
