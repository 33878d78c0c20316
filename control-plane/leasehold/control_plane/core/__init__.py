"""Pure: facts and instants in, values out. No I/O, no clocks, no logging, no randomness."""
