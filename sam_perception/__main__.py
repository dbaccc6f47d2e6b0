"""`python -m sam_perception` is the `sam-perception` command."""

import sys

try:
    from sam_perception.cli import main

    sys.exit(main())
except KeyboardInterrupt:  # while the imports above were under way
    sys.exit(130)
