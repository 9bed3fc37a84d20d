//! The hardware security module.

use std::time::Duration;

/// How long a caller waits for the module.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(5);
