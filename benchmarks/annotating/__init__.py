"""The parts that the benchmark of annotating is made of."""
