"""The `maquette` command: one module for each subcommand, none of which imports torch before it works."""
