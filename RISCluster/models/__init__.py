"""Networks, soft assignment, fixed features, and the files in which they are stored."""
