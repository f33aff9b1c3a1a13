"""The commands, one module a stage; each reads its options and calls a function of the rooms."""
