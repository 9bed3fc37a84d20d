//! What no source file may have in it.

use super::rust::{Line, has_reason_above, has_word, lines};
use super::tree::{File, Finding, Tree};

/// The files that may have `unsafe` code, and what for.
const UNSAFE: &[(&str, &str)] = &[
    (
        "vault/src/harden.rs",
        "calls of the operating system that keep memory out of dumps and swap have no safe form",
    ),
    (
        "vault/src/store/sync.rs",
        "the one function of the C library that sled takes for a sync is replaced by one that is",
    ),
    (
        "vault/src/freed.rs",
        "the function with which C libraries free memory is replaced by one that wipes it first",
    ),
    ("vault/src/locked.rs", "memory that is locked and wiped"),
    ("vault/tests/vault/rotation.rs", "a process that ends as if it were killed"),
    (
        "vault/tests/crash_images/tape.rs",
        "a power cut is made of every call that reached the disk, and they are seen by taking the \
         place of the C library's functions",
    ),
];

/// Words that stand for unfinished or careless work, and what to do instead.
const WORDS: &[(&str, &str)] = &[
    ("FIXME", "fix it, or open an issue and name it"),
    ("HACK", "say what is odd and why it must be so"),
    ("dbg!", "remove it; a log line goes through proxy/src/log.rs"),
    ("todo!", "land something smaller that is whole"),
    ("unimplemented!", "land something smaller that is whole"),
];

/// Names that tell the kind of a thing instead of the thing, for files, folders and modules.
const NAMES: &[&str] = &[
    "base",
    "common",
    "core",
    "handler",
    "handlers",
    "helper",
    "helpers",
    "impl",
    "manager",
    "misc",
    "traits",
    "transformers",
    "types",
    "util",
    "utils",
    "v2",
];

/// Ends of the names of types that tell as little.
const TYPE_ENDS: &[&str] = &["Handler", "Helper", "Manager", "Utils"];

/// Places that only some machine has, and what to write instead.
const PLACES: &[(&str, &str)] = &[
    ("/home/", "take it from the configuration"),
    ("/Users/", "take it from the configuration"),
    ("/root/", "take it from the configuration"),
    ("/mnt/", "name it from the root of the project"),
    ("/tmp/", "make a folder that is removed again, under `std::env::temp_dir()` or `mktemp`"),
];

/// What has no place in crates that are functions of their arguments.
const IMPURE: &[(&str, &[&str], &str)] = &[
    ("SystemTime", &["model", "providers"], "a clock is an argument"),
    ("Instant", &["model", "providers"], "a clock is an argument"),
    ("std::fs", &["filters", "model", "providers"], "what is in files is an argument"),
    ("std::env", &["filters", "model", "providers"], "only `conf` reads the environment"),
    ("std::process", &["filters", "model", "providers"], "nothing is started or ended here"),
    ("std::thread", &["filters", "model", "providers"], "nothing runs beside this"),
    ("TcpStream", &["filters", "model", "providers"], "the proxy sends"),
    ("async", &["filters", "model", "providers"], "what must wait is a stage of the proxy"),
    ("await", &["filters", "model", "providers"], "what must wait is a stage of the proxy"),
];

/// How many lines a source file may have without a word about it.
const LINES_MAX: usize = 600;
/// How that word begins.
const LONG_BECAUSE: &str = "This file is long because ";

/// The files in which the rules themselves are written.
const RULES: &str = "tests/tests/tidy/";

/// `unsafe` outside of the listed files, or without its safety argument; and stale lines of the list.
pub(crate) fn unsafe_code(tree: &Tree) -> Vec<Finding> {
    unsafe_beside(tree, UNSAFE)
}

fn unsafe_beside(tree: &Tree, list: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        tree.ending(".rs").flat_map(|file| unsafe_in(file, list)).collect();
    for (path, _) in list {
        let used =
            tree.files.iter().any(|file| file.path == *path && !unsafe_lines(file).is_empty());
        if !used {
            let gone = File::of(path, "").finding(0, "is on the list of tidy and has no `unsafe`");
            findings.push(gone);
        }
    }
    findings
}

fn unsafe_in(file: &File, list: &[(&str, &str)]) -> Vec<Finding> {
    let listed = list.iter().any(|(path, _)| *path == file.path);
    let lines = lines(&file.text);
    unsafe_lines(file)
        .into_iter()
        .filter_map(|at| {
            let why = match (listed, has_reason_above(&lines, at)) {
                (true, true) => return None,
                (true, false) => "`unsafe` without a `// SAFETY:` above it",
                (false, _) => "`unsafe` in a file that tests/tests/tidy/source.rs does not list",
            };
            Some(file.finding(at.saturating_add(1), why))
        })
        .collect()
}

/// The places, from 0, of the lines with `unsafe` code.
fn unsafe_lines(file: &File) -> Vec<usize> {
    let lines = lines(&file.text);
    (0..).zip(&lines).filter(|(_, line)| has_word(&line.code, "unsafe")).map(|(at, _)| at).collect()
}

/// Clocks, files, sockets and waiting in the crates that are pure.
pub(crate) fn impure(tree: &Tree) -> Vec<Finding> {
    let sources = tree.ending(".rs").filter(|file| file.path.contains("/src/"));
    sources
        .flat_map(|file| {
            in_code(file, move |line| {
                let rule = IMPURE.iter().find(|(word, tops, _)| {
                    tops.contains(&file.top()) && has_word(&line.code, word)
                });
                rule.filter(|_| !line.test)
                    .map(|(word, _, why)| format!("`{word}` in `{}`: {why}", file.top()))
            })
        })
        .collect()
}

/// Words that must not stay, in code, comments and pages.
pub(crate) fn banned_words(tree: &Tree) -> Vec<Finding> {
    let files = tree.files.iter().filter(|file| !file.path.starts_with(RULES));
    files
        .flat_map(|file| {
            file.lines()
                .filter_map(|(at, text)| Some(file.finding(at, banned_word(text)?)))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn banned_word(text: &str) -> Option<String> {
    if has_word(text, "TODO") && !text.contains("TODO(#") {
        return Some("a TODO names its issue, as in `TODO(#12)`".to_owned());
    }
    let (word, instead) = WORDS.iter().find(|(word, _)| has_word(text, word))?;
    Some(format!("`{word}`: {instead}"))
}

/// Files, modules and types that are named for their kind.
pub(crate) fn banned_names(tree: &Tree) -> Vec<Finding> {
    let of_paths = tree.files.iter().filter_map(|file| {
        let parts = file.path.split('/').map(|part| part.split('.').next().unwrap_or_default());
        let name = parts.into_iter().find(|part| NAMES.contains(part))?;
        Some(file.finding(0, format!("`{name}` tells no one what is in it: name the thing")))
    });
    let of_items =
        tree.ending(".rs").flat_map(|file| in_code(file, |line| banned_item(&line.code)));
    of_paths.chain(of_items).collect()
}

fn banned_item(code: &str) -> Option<String> {
    let words: Vec<&str> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let item = words.windows(2).find_map(|pair| match pair {
        ["mod", name] if NAMES.contains(name) => Some(*name),
        ["struct" | "enum" | "trait" | "type", name] => {
            TYPE_ENDS.iter().any(|end| name.ends_with(end)).then_some(*name)
        }
        _ => None,
    })?;
    Some(format!("`{item}` tells no one what it is: name the thing"))
}

/// Paths of some machine.
pub(crate) fn machine_paths(tree: &Tree) -> Vec<Finding> {
    let files = tree.files.iter().filter(|file| !file.path.starts_with(RULES));
    files
        .flat_map(|file| {
            file.lines()
                .filter_map(|(at, text)| {
                    let (place, instead) = PLACES.iter().find(|(place, _)| text.contains(place))?;
                    Some(
                        file.finding(at, format!("`{place}` is a place of one machine: {instead}")),
                    )
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Source files that are long and do not say why.
pub(crate) fn too_long(tree: &Tree) -> Vec<Finding> {
    tree.ending(".rs")
        .filter(|file| file.lines().count() > LINES_MAX && !file.text.contains(LONG_BECAUSE))
        .map(|file| {
            let problem = format!(
                "{} lines: is it one thing? If so, say `//! {LONG_BECAUSE}…` at its top",
                file.lines().count()
            );
            file.finding(0, problem)
        })
        .collect()
}

/// What `check` finds in each line of the code of a file.
fn in_code(file: &File, check: impl Fn(&Line) -> Option<String>) -> Vec<Finding> {
    let lines = (1..).zip(lines(&file.text));
    lines.filter_map(|(at, line)| Some(file.finding(at, check(&line)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(check: impl Fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn unsafe_code_is_found_unless_listed_with_its_argument() {
        let list = [("vault/src/a.rs", "a reason")];
        let check = |tree: &Tree| unsafe_beside(tree, &list);
        assert_eq!(found(check, "vault/src/a.rs", "// SAFETY: so\nunsafe { b() }"), 0);
        assert_eq!(found(check, "vault/src/a.rs", "unsafe { b() }"), 1);
        assert_eq!(found(check, "vault/src/a.rs", "#![expect(unsafe_code)] // unsafe"), 1, "stale");
        assert_eq!(found(check, "proxy/src/a.rs", "// SAFETY: so\nunsafe { b() }"), 2, "and stale");
    }

    #[test]
    fn a_clock_in_a_provider_is_found() {
        assert_eq!(found(impure, "providers/src/a.rs", "let now = SystemTime::now();"), 1);
        assert_eq!(found(impure, "filters/src/a.rs", "pub async fn a() {}"), 1);
        assert_eq!(found(impure, "proxy/src/a.rs", "let now = SystemTime::now();"), 0);
        assert_eq!(found(impure, "model/src/a.rs", "// SystemTime is for others"), 0);
    }

    #[test]
    fn banned_words_are_found_in_code_and_in_comments() {
        for text in ["// FIXME later", "dbg!(a)", "todo!()", "// TODO: later", "a // HACK"] {
            assert_eq!(found(banned_words, "proxy/src/a.rs", text), 1, "{text}");
        }
        assert_eq!(found(banned_words, "proxy/src/a.rs", "// TODO(#12): later"), 0);
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        for (path, text) in [
            ("proxy/src/utils.rs", ""),
            ("proxy/src/common/a.rs", ""),
            ("proxy/src/a.rs", "pub mod helpers;"),
            ("proxy/src/a.rs", "pub struct ChargeHandler {"),
            ("proxy/src/a.rs", "trait KeyManager {"),
        ] {
            assert_eq!(found(banned_names, path, text), 1, "{path} {text}");
        }
        assert_eq!(found(banned_names, "proxy/src/a.rs", "// a mod utils; struct Retry {"), 0);
    }

    #[test]
    fn places_of_a_machine_are_found() {
        for text in ["cd /home/ann/src", "\"/tmp/a.sock\"", "/Users/ann", "/root/.cargo"] {
            assert_eq!(found(machine_paths, "Makefile", text), 1, "{text}");
        }
        assert_eq!(found(machine_paths, "Makefile", "/var/lib/orchestra and docs/network/"), 0);
    }

    #[test]
    fn a_long_file_needs_its_reason() {
        let long = "a\n".repeat(LINES_MAX + 1);
        assert_eq!(found(too_long, "proxy/src/a.rs", &long), 1);
        assert_eq!(found(too_long, "proxy/src/a.rs", &format!("//! {LONG_BECAUSE}x\n{long}")), 0);
        assert_eq!(found(too_long, "filters/openapi.json", &long), 0);
    }
}
