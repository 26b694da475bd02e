//! (room: heads)
