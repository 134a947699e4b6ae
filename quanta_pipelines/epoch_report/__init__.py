"""One page an epoch that anyone may keep: one file of HTML, its pictures inside, no script.

It shows what the epoch's published tables say, and computes nothing that they do not hold.
"""

from quanta_pipelines.epoch_report.page import HEAD, epoch_page, index_page, is_current

__all__ = ["HEAD", "epoch_page", "index_page", "is_current"]
