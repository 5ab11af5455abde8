//! The real binary, started on a free port, over TCP.
