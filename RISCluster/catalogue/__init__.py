"""Where and when clusters occur: the catalogue, series beside it, and files for other programs."""
