//! `orchestra check`

use super::{load, terminal};
use anyhow::{Result, bail};
use clap::Args;
use conf::Config;
use std::fs::{self, File};
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  orchestra check
  orchestra check --conf /etc/orchestra/orchestra.yaml > as-meant.yaml

What is printed is a configuration that means the same, with every default written out and every
path complete. Secrets are printed as what they are there: references. The status is 1 when
something that the configuration names is not to be had.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {}

// === impl Check ===

impl Check {
    pub(super) fn run(self, conf: &Path) -> Result<()> {
        let config = load(conf)?;
        terminal::say(&config.to_string())?;
        let problems = problems(&config);
        for problem in &problems {
            terminal::complain(&format!("orchestra: {problem}"));
        }
        match problems.len() {
            0 => Ok(()),
            1 => bail!("{}: one thing is missing", conf.display()),
            more => bail!("{}: {more} things are missing", conf.display()),
        }
    }
}

/// What the configuration names and this process cannot have.
fn problems(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let certificates = config.listen.tls.iter().flat_map(|tls| &tls.certificates);
    for files in certificates {
        problems.extend(unreadable("listen.tls.certificates", &files.chain));
        problems.extend(unreadable("listen.tls.certificates", &files.key));
    }
    problems.extend(unreadable("vault.module", &config.vault.module));
    problems.extend(config.vault.pin.read().err().map(|error| format!("vault.pin: {error}")));
    if !fs::metadata(&config.vault.directory).is_ok_and(|found| found.is_dir()) {
        let directory = config.vault.directory.display();
        problems.push(format!("vault.directory: {directory}: make it with `orchestra vault init`"));
    }
    for (name, upstream) in &config.providers {
        let field = format!("providers.{name}.ca");
        problems.extend(upstream.ca.as_ref().and_then(|ca| unreadable(&field, ca)));
    }
    problems
}

fn unreadable(field: &str, path: &Path) -> Option<String> {
    let error = File::open(path).err()?;
    Some(format!("{field}: {}: {}", path.display(), error.kind()))
}

#[cfg(test)]
mod tests {
    use super::problems;
    use conf::Config;
    use std::path::Path;

    #[test]
    fn everything_that_is_not_there_is_named() {
        let text = "
listen: {tls: {address: 0.0.0.0:1, certificates: [{chain: a.pem, key: a.key}]}}
vault: {module: a.so, pin: file:pin, directory: data}
providers: {stripe: {ca: ca.pem}, adyen: {}}
";
        let config = Config::parse(text, Path::new("/nowhere")).unwrap();
        let problems = problems(&config);
        let places = ["/a.pem", "/a.key", "/a.so", "/pin", "/data", "/ca.pem"];
        assert_eq!(problems.len(), places.len(), "{problems:?}");
        for (problem, place) in problems.iter().zip(places) {
            assert!(problem.contains(&format!("/nowhere{place}: ")), "{problem}");
        }
    }
}
