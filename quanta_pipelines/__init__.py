"""QUANTA: equity portfolio signals of a Bittensor subnet, scored and paid epoch by epoch."""
