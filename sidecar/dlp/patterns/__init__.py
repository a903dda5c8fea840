"""Credential types: what a vendor's token looks like. Data and pure checks; matching is the engine's affair."""
