"""From another trainer's command line or settings to a TOML file of ours: reading, converting, writing."""
