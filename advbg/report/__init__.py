"""One page about a run of `advbg train`, for people to read."""
