"""What every table of an epoch promises: one module per stage, one class per table.

A contract is checked before its table becomes visible. It knows the parameters of the rules and
nothing else of the platform.
"""
