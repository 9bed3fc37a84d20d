//! `orchestra check`

use super::{load, terminal};
use crate::causes::causes;
use crate::certificates::Certificates;
use crate::upstream::authorities;
use anyhow::{Result, bail};
use clap::Args;
use conf::Config;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::slice;

const EXAMPLES: &str = "\
Examples:
  orchestra check
  orchestra check --conf /etc/orchestra/orchestra.yaml > as-meant.yaml

What is printed is a configuration that means the same, with every default written out and every
path complete. Secrets are printed as what they are there: references. The status is 1 when
something that the configuration names is not to be had.";

const CERTIFICATES: &str = "listen.tls.certificates";

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
            let field = problem.split(": ").next().unwrap_or_default();
            terminal::complain(&format!("orchestra: {}: {problem}", conf::place(conf, field)));
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
        let each = [&files.chain, &files.key].map(|path| unreadable(CERTIFICATES, path));
        if each.iter().all(Option::is_none) {
            let loaded = Certificates::load(slice::from_ref(files)).err();
            problems.extend(loaded.map(|error| format!("{CERTIFICATES}: {}", causes(&error))));
        }
        problems.extend(each.into_iter().flatten());
    }
    problems.extend(unreadable("vault.module", &config.vault.module));
    problems.extend(config.vault.pin.read().err().map(|error| format!("vault.pin: {error}")));
    if !fs::metadata(&config.vault.directory).is_ok_and(|found| found.is_dir()) {
        let directory = config.vault.directory.display();
        problems.push(format!("vault.directory: {directory}: make it with `orchestra vault init`"));
    }
    for (name, upstream) in &config.providers {
        let field = format!("providers.{name}.ca");
        let Some(ca) = &upstream.ca else { continue };
        let problem = unreadable(&field, ca)
            .or_else(|| authorities(ca).err().map(|error| format!("{field}: {}", causes(&error))));
        problems.extend(problem);
    }
    problems.extend(config.log.access.as_deref().and_then(unwritable));
    problems
}

/// Why the access log cannot be written. It is made by who serves, and not here.
fn unwritable(path: &Path) -> Option<String> {
    let shown = path.display();
    let parent = path.parent().unwrap_or(path);
    let error = match File::options().append(true).open(path) {
        Ok(_) => return None,
        Err(error) if error.kind() == ErrorKind::NotFound && parent.is_dir() => return None,
        Err(error) => error.kind(),
    };
    Some(format!("log.access: {shown}: {error}"))
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
log: {access: log/access}
";
        let config = Config::parse(text, Path::new("/nowhere")).unwrap();
        let problems = problems(&config);
        let places = ["/a.pem", "/a.key", "/a.so", "/pin", "/data", "/ca.pem", "/log/access"];
        assert_eq!(problems.len(), places.len(), "{problems:?}");
        for (problem, place) in problems.iter().zip(places) {
            assert!(problem.contains(&format!("/nowhere{place}: ")), "{problem}");
        }
    }

    #[test]
    fn what_is_there_and_is_something_else_is_named() {
        let text = "
listen: {tls: {address: 0.0.0.0:1, certificates: [{chain: Cargo.toml, key: Cargo.toml}]}}
vault: {module: Cargo.toml, pin: file:pin, directory: src}
providers: {stripe: {ca: Cargo.toml}}
log: {access: src}
";
        let config = Config::parse(text, Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let problems = problems(&config);
        let places = ["listen.tls.certificates", "vault.pin", "providers.stripe.ca", "log.access"];
        assert_eq!(problems.len(), places.len(), "{problems:?}");
        for (problem, place) in problems.iter().zip(places) {
            assert!(problem.starts_with(place), "{problem}");
        }
    }
}
