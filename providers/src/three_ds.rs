//! The result of a 3-D Secure authentication that was done elsewhere, checked before it is sent.
