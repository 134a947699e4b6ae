"""Pages that need no network: Great Expectations' content in a frame without scripts.

Its own frame loads styles and scripts from five hosts and shows nothing without them. Great
Expectations imports this module by name when a site is built.
"""

from great_expectations.render.view import DefaultJinjaPageView


class EpochPage(DefaultJinjaPageView):
    """One epoch: what was expected, what was observed."""

    _template = "epoch_page.j2"


class IndexPage(DefaultJinjaPageView):
    """All epochs, newest first."""

    _template = "epochs_page.j2"
