"""How much and how long the git gate may take. Values only; each says where it comes from."""

IDLE_SECONDS = 15.0
"""gitgate.md: an upstream, or a git of ours, that does not move for this long is given up."""
FETCH_SECONDS = 900.0
"""One fetch from upstream, however well it moves."""
LOCAL_SECONDS = 600.0
"""One git command on what is here already: the largest push indexes in seconds, a hostile one does not end."""
SCAN_SECONDS = 1800.0
"""Examining one push: what MAX_UNPACKED allows takes a few minutes, and thousands of small files that are packed as
tightly as can be take hours."""
SHARED_IDLE_SECONDS = 120.0
"""An SSH connection that no git of ours has used for this long is closed: an agent at work pushes every few minutes,
and a handshake takes as long as the rest of a push."""
SHARED_SECONDS = 300.0
"""The age from which it is not used any more: well below FETCH_SECONDS, after which it is ended."""
PACKS = 4
"""gitgate.md: concurrent packs."""
WAITING = 16
"""Calls that wait for one of those."""
BODIES = 8
"""Times the largest push: room on the disk for the bodies of all calls, also of those that are not whole yet or wait
for the operator. A bottle opens as many as it likes, and it is the host's disk."""
MAX_REQUEST = 8 * 1024 * 1024
"""What a fetch may ask: some hundred thousand wants and haves."""
MAX_OBJECTS = 500_000
"""New objects of one push that are scanned; a larger one is refused and may come in parts."""
MAX_PATHS = 128 * 1024 * 1024
"""Characters of their paths in all, which are kept while they are scanned."""
MAX_UNPACKED = 2 * 1024 * 1024 * 1024
"""Their content in all: a small pack may unpack to anything."""
MAX_WHOLE = 64 * 1024 * 1024
"""A larger file is a zip archive that is told to be sound by its whole, up to this size."""
MAX_ARCHIVE = 128 * 1024 * 1024
"""One zip archive and its members, where they are looked at one by one: sixteen times the largest that is."""
MAX_OPENED = 1024 * 1024 * 1024
"""The same of a push."""
WINDOW = 8 * 1024 * 1024
"""A larger file is scanned in pieces of this size, so that memory is bounded."""
OVERLAP = 64 * 1024
"""By which those pieces overlap: longer than any credential in any encoding."""
MAX_SHOWN = 20
"""Findings that a refusal names."""
MAX_KEPT = 200
"""Findings of one sort that are kept, and places of a value that are counted."""
MAX_SUPPRESSED = 50
"""Values that a proposal shows, each in a line; a push with more that only inline marks suppress is refused."""
MAX_NAMED = 2_000
"""Characters of the references in it: with all its lines it has to fit into one event of the spool."""
MAX_DIFF = 40_000
"""Characters of a diff that a proposal carries: one event of the spool has 64 KiB."""
SHOWN_COMMITS = 100
MAX_COMMITS = 12_000
"""Characters of those that the commits may take: the rest is for the diff."""
MAX_LOOSE_PACKS = 40
"""Packs of one mirror after which they are made one."""
BACKUP_FOLDER = "backups"
"""Beside the mirrors, whose names are the manifest's and end in `.git`: none of them is this one."""
BACKUP_DAYS = 30
"""gitgate.md: how long the old tip of a forced or deleted branch is kept."""
MAX_MEMORY = 3 * 1024**3
"""Address space of one git process; it maps packs."""
MAX_FILE = 4 * 1024**3
