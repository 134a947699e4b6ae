"""The routes, one module per subject; each parses, asks who calls, makes one call and answers."""
