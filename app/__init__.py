"""The host side of carboy: controller, backends, providers, store, and the two faces (TUI and command line)."""

__version__ = "0.1.0"
