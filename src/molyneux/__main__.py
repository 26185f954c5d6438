"""`python -m molyneux`."""

import sys

from molyneux.cli import main

sys.exit(main())
