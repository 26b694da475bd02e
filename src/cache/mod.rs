//! (room: cache)
