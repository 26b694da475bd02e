//! (room: encode)
