"""Where bottles run. `base` is the contract, `select` chooses; each backend is imported only when it is asked for."""
