"""Let `python -m maquette` be the same as the `maquette` command."""

import sys

from maquette.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
