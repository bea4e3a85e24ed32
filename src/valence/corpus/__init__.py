"""Where text comes from, how it is cut into segments, and how it is messed up on purpose."""
