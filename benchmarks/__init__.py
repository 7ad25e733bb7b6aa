"""Measurements. Opt-in; nothing here is run by the tests. Only ratios within one run mean anything."""
