"""What lets a bottle ask its operator: the desk where questions wait for their decision, and the MCP server."""
