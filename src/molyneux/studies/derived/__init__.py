"""What is concluded from several experiments together."""
