//! argv → body.
