//! Payment providers, as data in and data out.
