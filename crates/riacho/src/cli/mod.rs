//! The commands of the `riacho` binary.
