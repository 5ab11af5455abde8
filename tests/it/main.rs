//! Black-box tests: they start the program on a free port and use it over TCP.

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
