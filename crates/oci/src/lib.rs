//! The vocabulary of the Open Container Initiative: runtime spec, image spec, digests, references, platforms. No I/O.
