"""The stages: each opens the run, trains or fits, scores, writes its folder and draws."""
