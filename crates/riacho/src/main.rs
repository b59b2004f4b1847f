//! The `riacho` binary: arguments, environment and signals; nothing else.

fn main() {}
