//! The whole proxy against providers in miniature.
//!
//! What belongs here: the [`sandbox`] that stands in for the providers, the harness that starts
//! the real program beside it, and the tests that need both. What does not: anything that the
//! proxy itself would have to link.

pub mod net;
pub mod sandbox;
