"""Simulated miners and validators, for the demo and the what-ifs; no real participant acts here.

They use the signal store like anyone else. The snapshots that a season records say ``simulated``.
"""
