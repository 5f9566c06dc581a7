"""``python -m RISCluster COMMAND``; the functions `_add_*_commands` of `arguments` list them."""
