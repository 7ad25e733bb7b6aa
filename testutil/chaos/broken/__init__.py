"""Brokers that are broken on purpose, to prove that the checker sees what a naive design does.

`python -m testutil.chaos.broken` runs a small plant with each mutant of `mutant.MUTANTS`, under the faults that bring
its defect to light (`scenario`), and again without it. In the plant's processes `member` applies the mutation first.
"""
