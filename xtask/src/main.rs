//! Development commands: one word each.

fn main() {}
