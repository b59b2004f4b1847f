//! The encoded bytes of one selection.
