//! Which crate may depend on which.

use super::tree::{Finding, root};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// A crate of the workspace and what it names as its dependencies, for its tests included.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) dependencies: BTreeSet<String>,
}

/// The drawing of ARCHITECTURE.md: who may name whom. It points one way, and has no other edges.
///
/// `tests` holds the harness and the sandbox, which `benches` load: that is why one of the
/// outermost crates may name another.
const DRAWING: &[(&str, &[&str])] = &[
    ("benches", &["conf", "filters", "model", "providers", "proxy", "tests", "vault"]),
    ("conf", &["model"]),
    ("filters", &["model"]),
    ("model", &[]),
    ("providers", &["model"]),
    ("proxy", &["conf", "filters", "model", "providers", "vault"]),
    ("tests", &["conf", "filters", "model", "providers", "proxy", "vault"]),
    ("vault", &["model"]),
];

/// Crates from outside that only some of ours may name, and what the others do instead. A star at
/// the end stands for any name that begins so; the first line that fits is the one that counts.
const OWNED: &[(&str, &[&str], &str)] = &[
    ("pingora-limits", &["filters", "proxy"], "ask for a verdict from `filters`"),
    ("pingora*", &["benches", "proxy"], "only `proxy` names the host; `benches` has the bare one"),
    ("boring*", &["benches", "proxy", "tests"], "TLS belongs to the listeners"),
    ("tokio-boring", &["benches", "proxy", "tests"], "TLS belongs to the listeners"),
    ("openssl*", &[], "there is one TLS library in the graph, and it is BoringSSL"),
    ("rustls*", &[], "there is one TLS library in the graph, and it is BoringSSL"),
    ("sled", &["vault"], "go through `vault::Store`"),
    ("cryptoki*", &["vault"], "go through `vault`"),
    ("aes-gcm", &["vault"], "go through `vault`"),
    ("hkdf", &["vault"], "go through `vault`"),
    ("hmac", &["providers", "vault"], "go through `vault`; a provider signs its own requests"),
    ("sha1", &["providers"], "only what a provider signs so is compared with it"),
    ("reqwest", &[], "the proxy sends on its own connector, which never sends twice"),
    ("anyhow", &["benches", "proxy", "tests"], "a library has errors with types"),
    ("serde_yaml*", &["conf"], "only `conf` reads files that configure"),
];

/// Crates that may name only what is listed here, and why.
const CLOSED: &[(&str, &[&str], &str)] = &[
    ("model", &["proptest", "thiserror", "zeroize"], "words need no format, clock or socket"),
    (
        "providers",
        &[
            "base64ct",
            "hmac",
            "jiff",
            "jsonschema",
            "model",
            "percent-encoding",
            "proptest",
            "quick-xml",
            "serde",
            "serde_json",
            "sha1",
            "sha2",
            "thiserror",
            "zeroize",
        ],
        "a provider is data in and data out",
    ),
];

/// Asks cargo for the crates of the workspace.
pub(crate) fn members() -> anyhow::Result<Vec<Member>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("no packages")?;
    packages.iter().map(Member::read).collect()
}

/// Edges between our crates that are not in the drawing, and crates that are not.
pub(crate) fn edges(members: &[Member]) -> Vec<Finding> {
    let ours: BTreeSet<&str> = DRAWING.iter().map(|(name, _)| *name).collect();
    let mut findings = Vec::new();
    for member in members {
        let Some((_, allowed)) = DRAWING.iter().find(|(name, _)| *name == member.name) else {
            findings.push(member.finding("is not in the drawing (ARCHITECTURE.md, tidy)"));
            continue;
        };
        for name in &member.dependencies {
            if ours.contains(name.as_str()) && !allowed.contains(&name.as_str()) {
                findings.push(member.finding(&format!("must not depend on `{name}`")));
            }
        }
    }
    let missing = ours.iter().filter(|name| !members.iter().any(|m| m.name == **name));
    findings.extend(missing.map(|name| Member::named(name).finding("is drawn and not there")));
    findings
}

/// Outside crates that are named by one of ours that may not.
pub(crate) fn owners(members: &[Member]) -> Vec<Finding> {
    let pairs = members.iter().flat_map(|m| m.dependencies.iter().map(move |name| (m, name)));
    pairs
        .filter_map(|(member, name)| {
            let (_, owners, instead) = OWNED.iter().find(|(pattern, ..)| fits(pattern, name))?;
            let problem = format!("must not depend on `{name}`: {instead}");
            (!owners.contains(&member.name.as_str())).then(|| member.finding(&problem))
        })
        .collect()
}

/// Dependencies of the crates that stay small which are not on their lists.
pub(crate) fn closed(members: &[Member]) -> Vec<Finding> {
    let pairs = members.iter().flat_map(|m| m.dependencies.iter().map(move |name| (m, name)));
    pairs
        .filter_map(|(member, name)| {
            let (_, allowed, why) = CLOSED.iter().find(|(closed, ..)| *closed == member.name)?;
            let problem = format!("must not depend on `{name}`: {why}");
            (!allowed.contains(&name.as_str())).then(|| member.finding(&problem))
        })
        .collect()
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field).and_then(Value::as_str)
}

fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

// === impl Member ===

impl Member {
    fn read(package: &Value) -> anyhow::Result<Self> {
        let name = text(package, "name").context("a package without a name")?;
        let dependencies = package.get("dependencies").and_then(Value::as_array);
        let dependencies = dependencies.context("a package without dependencies")?;
        Ok(Self::of(name, dependencies.iter().filter_map(|dependency| text(dependency, "name"))))
    }

    fn of<'a>(name: &str, dependencies: impl IntoIterator<Item = &'a str>) -> Self {
        let dependencies = dependencies.into_iter().map(str::to_owned).collect();
        Self { name: name.to_owned(), dependencies }
    }

    fn named(name: &str) -> Self {
        Self::of(name, [])
    }

    fn finding(&self, problem: &str) -> Finding {
        let path = format!("{}/Cargo.toml", self.name);
        Finding { path, line: 0, problem: format!("`{}` {problem}", self.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::{DRAWING, Member, closed, edges, owners};

    fn all_but(name: &str, planted: Member) -> Vec<Member> {
        let others = DRAWING.iter().filter(|(other, _)| *other != name);
        others.map(|(other, _)| Member::named(other)).chain([planted]).collect()
    }

    #[test]
    fn a_planted_edge_is_found() {
        for (from, to) in [
            ("model", "vault"),
            ("providers", "vault"),
            ("vault", "providers"),
            ("filters", "conf"),
            ("proxy", "tests"),
            ("tests", "benches"),
        ] {
            let findings = edges(&all_but(from, Member::of(from, [to])));
            assert_eq!(findings.len(), 1, "{from} -> {to}: {findings:?}");
        }
        assert!(edges(&all_but("proxy", Member::of("proxy", ["vault", "model"]))).is_empty());
    }

    #[test]
    fn a_crate_that_is_not_drawn_is_found_and_so_is_one_that_is_gone() {
        assert_eq!(edges(&all_but("", Member::named("common"))).len(), 1);
        assert_eq!(edges(&all_but("vault", Member::named("model"))).len(), 1);
    }

    #[test]
    fn a_planted_owner_is_found() {
        for (name, to) in [
            ("filters", "pingora"),
            ("vault", "pingora-core"),
            ("tests", "pingora-proxy"),
            ("providers", "pingora-limits"),
            ("proxy", "sled"),
            ("tests", "cryptoki"),
            ("tests", "aes-gcm"),
            ("vault", "anyhow"),
            ("tests", "reqwest"),
            ("proxy", "openssl-sys"),
        ] {
            assert_eq!(owners(&[Member::of(name, [to])]).len(), 1, "{name} -> {to}");
        }
        let allowed = Member::of("filters", ["pingora-limits", "governor"]);
        assert!(owners(&[allowed, Member::of("benches", ["pingora"])]).is_empty());
    }

    #[test]
    fn a_format_in_model_and_a_clock_in_providers_are_found() {
        assert_eq!(closed(&[Member::of("model", ["serde", "thiserror"])]).len(), 1);
        assert_eq!(closed(&[Member::of("providers", ["tokio", "rand", "model"])]).len(), 2);
    }
}
