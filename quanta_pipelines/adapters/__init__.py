"""The outside world in plain Python: vendors, signal store, lake, warehouse. No Dagster."""
