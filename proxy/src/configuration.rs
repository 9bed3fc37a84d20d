//! The file of the configuration: it is read at the start and with SIGHUP, and errors name its lines.

use crate::causes::causes;
use anyhow::{Error, Result};
use conf::Config;
use std::fmt;
use std::path::Path;

/// The field whose value an error is about. As the outermost context of an error it finds its line.
#[derive(Debug)]
pub(crate) struct Field(pub(crate) String);

/// The configuration, if it names only providers that there are.
pub(crate) fn load(file: &Path) -> Result<Config> {
    let names: Vec<_> = providers::PROVIDERS.iter().map(|one| one.name()).collect();
    Ok(Config::load(file, &names)?)
}

/// The error with its causes, and before them the line of the field that it is about, if it is about one.
pub(crate) fn told(file: &Path, error: &Error) -> String {
    match error.downcast_ref::<Field>() {
        Some(Field(field)) => format!("{}: {}", conf::place(file, field), causes(error)),
        None => causes(error),
    }
}

// === impl Field ===

impl Field {
    /// The field of this name.
    pub(crate) fn named(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
