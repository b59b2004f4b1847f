# Short names for `cargo xtask`, which does the work and explains itself: `cargo xtask help`.

[private]
default:
    @just --list --unsorted

# Serve with the live examples at http://127.0.0.1:4700/demo/
run *ARGS:
    cargo run --release -- demo {{ARGS}}

# All that must hold
test *ARGS:
    cargo xtask test {{ARGS}}

# Feed one decoder of outside bytes, e.g. `just fuzz cursor`
fuzz TARGET *ARGS:
    cargo xtask fuzz {{TARGET}} {{ARGS}}

# All that CI runs
ci:
    cargo xtask ci
