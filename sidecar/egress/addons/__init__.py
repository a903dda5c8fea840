"""One feature of the proxy each. Every hook runs under sidecar.guard: an exception never lets a request leave."""
