"""Measuring networks: whole and per layer, on a CPU or a GPU, with the statistics that make figures comparable."""
