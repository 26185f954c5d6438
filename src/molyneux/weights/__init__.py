"""The weights Molyneux names itself: fetched, hash-checked and kept in a cache."""
