"""Expectations ask whether a week looks like the market, and like the weeks before it.

A contract says what a table must be, row by row, and stops what is not. An expectation looks at a
whole epoch as a statistician would and warns a person. ``epoch_profile`` holds what is looked at,
``limits`` what is usual, ``prices`` the Great Expectations suite of both, ``data_docs`` the pages.
Great Expectations takes seconds to import, so only functions that run it do.
"""
