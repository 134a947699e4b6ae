"""Single-character errors in the formulas of money, and whether the tests see them."""
