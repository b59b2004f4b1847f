//! Where a subscription starts.
