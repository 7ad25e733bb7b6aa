"""How the cost of a job grows: with depth, workers, sleeping consumers and payload, and what idling costs.

    python -m benchmarks.scale depth herd --output scale.json
    python -m benchmarks.scale all --output scale.json

About jobqueue alone, each case against its own smaller case in the same run. Every case has a fresh
private server; rounds go through all cases before one is repeated. What is read of the server comes
from one INFO before and one after.
"""
