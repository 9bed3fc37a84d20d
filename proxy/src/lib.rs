//! The program `orchestra`: Pingora, listeners, exchanges, logs, metrics, the command line.
//!
//! It is thin and outermost: what a payment is stands in `model`, what providers say in
//! `providers`, what is kept in `vault`, what is refused in `filters`. Only this crate names
//! Pingora.

mod access_log;
mod account_routes;
mod accounts;
pub mod admin;
mod admission;
mod answer;
mod balance;
mod body;
mod breaker;
mod causes;
mod certificates;
mod clock;
pub mod command;
mod configuration;
mod context;
mod drain;
mod exchange;
mod gateway;
mod guard;
mod health;
mod idle;
mod inquiry;
mod metrics;
mod payment;
mod places;
mod program_log;
mod reply;
mod resolver;
mod resource;
mod result;
mod rotation;
#[cfg(test)]
mod scratch;
pub mod serve;
mod shared;
mod socket;
mod stray;
mod sweep;
mod transactions;
mod undying;
mod upstream;
mod waits;
mod webhook;
