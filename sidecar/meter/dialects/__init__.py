"""One module for each API that answers are read as: its events in, a `Tally` that grows out."""
