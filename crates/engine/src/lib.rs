//! Use cases: owns the state of containers, images and networks, and orders effects.
