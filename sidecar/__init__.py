"""The process beside each bottle that is its only way out. It parses hostile bytes and knows nothing of the host."""
