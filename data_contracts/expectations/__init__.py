"""Expectations ask whether a week looks like the market, and like the weeks before it.

A contract says what a table must be, row by row, and stops what is not. An expectation looks at a
whole epoch as a statistician would and warns a person. ``epoch_profile`` and ``mart_profile`` hold
what is looked at, ``limits`` what is usual, ``prices`` and ``marts`` which statistics are judged,
``suite`` runs them with Great Expectations, ``data_docs`` makes the pages.
Great Expectations takes seconds to import, so only functions that run it do.
"""
