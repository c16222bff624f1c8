"""Experiments that train networks: many trials, in parallel, resumable to the last bit."""
