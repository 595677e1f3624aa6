//! The vocabulary of the Docker Engine API: request and response bodies. No I/O.
