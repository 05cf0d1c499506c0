"""python -m microgpt"""

import sys

from .cli import main

sys.exit(main())
