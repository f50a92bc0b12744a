//! Tests of the journal as a whole, on the simulated and on the real disk.
