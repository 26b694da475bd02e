//! (room: graph)
