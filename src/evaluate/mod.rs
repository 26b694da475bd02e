//! (room: evaluate)
