"""Data-loss prevention: finds credentials and other secrets in what is about to leave. Pure: bytes in, findings out.

No module below does I/O, reads a clock or logs; all of them may be used by the app. What was matched lives in a
`finding.Match`, in memory alone.
"""
