//! Attempts in a seeded, faulty cluster of the imagination, for the simulator.
