//! The program `orchestra`.
