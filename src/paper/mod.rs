//! (room: paper)
