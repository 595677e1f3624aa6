//! The command-line door: what was typed, what was meant, and how it is printed.
