"""What knows one agent CLI: how it is found, started, pointed at the proxy, and what it must never see."""
