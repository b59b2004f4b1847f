//! All settings, checked once.
