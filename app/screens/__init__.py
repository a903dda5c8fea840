"""One screen a file, its style beside it. Screens read snapshots from the client and post messages; nothing more."""
