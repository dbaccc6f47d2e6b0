"""`python -m sam_perception` is the `sam-perception` command."""

import sys

from sam_perception.cli import main

sys.exit(main())
