"""The three stages: each opens the run, runs its loop, scores, writes and draws."""
