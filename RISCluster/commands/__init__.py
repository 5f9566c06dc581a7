"""``python -m RISCluster COMMAND``; `arguments` has the table of commands."""
