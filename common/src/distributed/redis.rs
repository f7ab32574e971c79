//! The connection to Redis: one server or Sentinel, with own deadlines.
