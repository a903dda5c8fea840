"""Bottles in containers of a Docker or Podman engine."""
