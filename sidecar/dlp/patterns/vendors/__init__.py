"""One module a theme, each exporting `TYPES`: the credential types of named vendors."""
