"""The one process of the host that starts, watches, meters and stops bottles, and the only writer of the store."""
