"""A sidecar that writes few lines in full."""

from sidecar.__main__ import main
from sidecar.egress.addons import journal

if __name__ == "__main__":
    journal.BURST = 20
    main()
