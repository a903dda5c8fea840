"""Data-loss prevention: finds credentials and other secrets in what is about to leave. Pure: bytes in, findings out.

No module below does I/O, reads a clock or logs; all of them may be used by the app. What was matched lives in a
`finding.Match`, in memory alone.
"""

import os

# numpy is used for offsets and histograms alone; the threads of its linear algebra would not survive a fork
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
