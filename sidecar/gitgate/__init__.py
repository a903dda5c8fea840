"""The git gate: repositories served to the bottle as smart HTTP, pushes scanned before they leave."""
