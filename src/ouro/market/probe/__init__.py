"""Does a token do what pools and we believe of tokens? Bought, moved and sold for trial before it is traded."""
