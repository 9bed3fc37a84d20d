//! The files of the project, as git would hand them to somebody else.

use anyhow::Context;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Every text file of the project, sorted by path.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

/// One text file.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root of the project, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Something that should not be so.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// From 1; 0 stands for the whole file.
    pub(crate) line: usize,
    pub(crate) problem: String,
}

/// Folders that hold what was built or run, where git is not there to say so.
const NOT_OURS: &[&str] = &[".git", "target", "var"];

/// The root of the project.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

// === impl Tree ===

impl Tree {
    /// The real tree, read once.
    pub(crate) fn here() -> &'static Self {
        static HERE: LazyLock<Tree> =
            LazyLock::new(|| Tree::read(&root()).expect("the project can be read"));
        &HERE
    }

    /// Reads the files that git tracks or would track; without git, all that is not build output.
    fn read(root: &Path) -> anyhow::Result<Self> {
        let mut paths = match tracked(root) {
            Some(paths) => paths,
            None => walked(root, "")?,
        };
        paths.sort_unstable();
        paths.dedup();
        let files = paths.into_iter().filter_map(|path| File::read(root, path)).collect();
        Ok(Self { files })
    }

    /// A tree for a test of a check.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| File::of(path, text)).collect();
        Self { files }
    }

    /// The files whose names end so.
    pub(crate) fn ending(&self, end: &str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.path.ends_with(end))
    }

    /// Whether there is such a file, or a folder with a file in it.
    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    }
}

/// What git knows of, new files included and ignored ones left out.
fn tracked(root: &Path) -> Option<Vec<String>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").arg("-C").arg(root).args(list).output().ok()?;
    let paths = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<String> =
        paths.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

fn walked(root: &Path, folder: &str) -> anyhow::Result<Vec<String>> {
    let mut paths = Vec::new();
    let entries = std::fs::read_dir(root.join(folder)).with_context(|| folder.to_owned())?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        match entry.file_type()?.is_dir() {
            true if NOT_OURS.contains(&name.as_str()) => {}
            true => paths.extend(walked(root, &path)?),
            false => paths.push(path),
        }
    }
    Ok(paths)
}

// === impl File ===

impl File {
    /// Nothing when it is not text, or was deleted and not yet committed.
    fn read(root: &Path, path: String) -> Option<Self> {
        let text = String::from_utf8(std::fs::read(root.join(&path)).ok()?).ok()?;
        Some(Self { path, text })
    }

    /// A file for a test of a check.
    pub(crate) fn of(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The lines with their numbers from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Something wrong with one line of it, or with all of it at line 0.
    pub(crate) fn finding(&self, line: usize, problem: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, problem: problem.into() }
    }

    /// The folder that it is in, without a slash at the end; empty at the root.
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The crate that it belongs to, or what else is first in its path.
    pub(crate) fn top(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }
}

// === impl Finding ===

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.problem),
            line => write!(f, "{}:{line}: {}", self.path, self.problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Tree, root, walked};

    #[test]
    fn the_tree_has_what_is_ours_and_not_what_was_built() {
        let tree = Tree::here();
        assert!(tree.has("tests/tests/tidy.rs") && tree.has("model/src") && tree.has("Cargo.toml"));
        assert!(!tree.has("target") && !tree.has(".git"));
    }

    #[test]
    fn without_git_the_same_files_are_found() {
        let paths = walked(&root(), "").unwrap();
        assert!(paths.iter().any(|path| path == "tests/tests/tidy/tree.rs"), "{paths:?}");
        assert!(!paths.iter().any(|path| path.starts_with("target/") || path.starts_with(".git/")));
    }
}
