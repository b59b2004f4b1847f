//! Records and batch frames to bytes and back.
