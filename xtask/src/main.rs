//! Riacho's automation; `cargo xtask help` lists the commands.

fn main() {}
