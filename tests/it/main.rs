//! The real binary, started on a free port and spoken to over TCP.

mod attack;
mod command_line;
mod connections;
mod fuzz;
mod hostile;
mod http;
mod load;
mod metrics;
mod routes;
mod service;
mod stop;
mod systemd;
mod tidy;
