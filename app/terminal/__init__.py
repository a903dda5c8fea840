"""The agent's terminal without Textual: emulator, keys, mouse, recorder. Everything an agent prints is hostile."""
