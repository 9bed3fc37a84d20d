//! What is measured, and how.
//!
//! The program `bench` puts the same charges through a bare Pingora pass-through and through
//! Orchestra, in turn and interleaved, and says what the difference costs. `README.md` says how to
//! read it and how not to be fooled by it.

pub mod charge;
pub mod contest;
pub mod disk;
pub mod histogram;
pub mod journal;
pub mod load;
pub mod parts;
pub mod process;
pub mod report;
pub mod scene;
pub mod script;
