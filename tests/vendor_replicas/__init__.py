"""Simulated vendors: a local server that speaks like Tiingo, Massive and Yahoo, and its faults."""
