"""The table of addresses, by what they are about."""
