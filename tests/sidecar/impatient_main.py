"""A sidecar that takes a question off the operator's desk at once when its client has left."""

from sidecar.__main__ import main
from sidecar.supervise import desk

if __name__ == "__main__":
    desk.GRACE_SECONDS = 0.1
    main()
