//! One binary, many roles: the role is chosen from argv before anything else is initialised.

fn main() {}
