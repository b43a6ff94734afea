"""What `dlock run` runs under the lock."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from session import Session

Session().hold(os.environ["DLOCK_FENCING_TOKEN"], outlives_lease=True)
