//! The same under random work.
