"""The graph, one module per stage: names in, one protocol call, metadata out."""
