"""Finding jobs wherever they are, and acting on many of them."""

from jobqueue.search.bulk import Bulk
from jobqueue.search.choice import ANY, JobFilter
from jobqueue.search.finder import Finder
from jobqueue.search.lookup import Lookup

__all__ = ["ANY", "Bulk", "Finder", "JobFilter", "Lookup"]
