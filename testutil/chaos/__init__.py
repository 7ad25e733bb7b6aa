"""A plant of real processes under random faults, and the checks of what it left behind.

`crew` starts and kills the plant, `mix` and `produce` feed it, `tasks` and `work` run it, `history` is what every
process writes down, `sampler` and `final` look at the servers, `check` judges.
"""
