"""AMM families: exact integer maths, log decoding, storage layout. Pure: no I/O, no chain."""
