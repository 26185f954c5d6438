"""Every scorer beside what units do exactly: sampled units, a scorer's own, and all of them."""
