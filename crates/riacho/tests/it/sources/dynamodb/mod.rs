//! DynamoDB: emulators and our fake, and our client of them.

/// The fake against emulators.
mod compared;
/// What the fake alone does.
mod scripted;
/// Our client.
mod service;
