"""A sidecar that takes a question off the operator's desk at once when its client has left."""

from sidecar.__main__ import main
from sidecar.egress import holds

if __name__ == "__main__":
    holds.GRACE_SECONDS = 0.1
    main()
