"""What the benchmarks share: turns, medians and ratios, memory, and how results are written."""
