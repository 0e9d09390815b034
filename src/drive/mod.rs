//! The one event loop: receive, append, fold, step, hand commands to the backend.
