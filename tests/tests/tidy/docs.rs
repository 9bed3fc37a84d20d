//! Pages: their length, their links, and the files that they name.

use super::tree::{File, Finding, Tree};
use std::collections::BTreeSet;

/// How many lines the pages may have that everybody reads first.
const LINES_MAX: &[(&str, usize)] = &[("ARCHITECTURE.md", 200), ("README.md", 120)];

/// Folders at the root: a path that begins with one and is written as code must exist.
const FOLDERS: &[&str] = &[
    ".ci",
    "benches",
    "conf",
    "docs",
    "filters",
    "fuzz",
    "model",
    "providers",
    "proxy",
    "scripts",
    "tests",
    "vault",
    "web",
];

/// The page that lists all others.
const INDEX: &str = "docs/README.md";
/// The page that tells of files that are gone.
const HISTORY: &str = "CHANGELOG.md";
/// The pages whose tables say which test shows what.
const SHOWN_BY_TESTS: [&str; 2] = ["docs/threats.md", "docs/pci.md"];
/// How the names of all metrics begin.
const METRICS_START: &str = "orchestra_";
/// Where the metrics are made, and where they are told of.
const METRICS: [&str; 2] = ["proxy/src/metrics.rs", "docs/reference/metrics.md"];

/// Front pages that grew.
pub(crate) fn too_long(tree: &Tree) -> Vec<Finding> {
    let pages = LINES_MAX.iter().flat_map(|(path, lines_max)| {
        tree.files.iter().filter(move |file| file.path == *path).map(move |file| (file, lines_max))
    });
    pages
        .filter(|(file, lines_max)| file.lines().count() > **lines_max)
        .map(|(file, lines_max)| file.finding(0, format!("more than {lines_max} lines")))
        .collect()
}

/// Links to files or headings that are not there.
pub(crate) fn broken_links(tree: &Tree) -> Vec<Finding> {
    tree.ending(".md")
        .flat_map(|file| {
            let links = links(file);
            links
                .into_iter()
                .filter_map(|(at, target)| Some(file.finding(at, broken(tree, file, &target)?)))
        })
        .collect()
}

fn broken(tree: &Tree, from: &File, target: &str) -> Option<String> {
    if ["http://", "https://", "mailto:"].iter().any(|start| target.starts_with(start)) {
        return None;
    }
    let (path, heading) = target.split_once('#').map_or((target, None), |(p, h)| (p, Some(h)));
    let path = if path.is_empty() { from.path.clone() } else { resolved(from.folder(), path) };
    if !tree.has(&path) {
        return Some(format!("links to `{target}`, which is not there"));
    }
    let page = tree.ending(".md").find(|file| file.path == path)?;
    let missing = heading.is_some_and(|heading| !headings(page).iter().any(|h| h == heading));
    missing.then(|| format!("links to `{target}`, which has no such heading"))
}

/// Paths of the project, written as code, that are not there.
pub(crate) fn missing_paths(tree: &Tree) -> Vec<Finding> {
    let pages = tree.ending(".md").filter(|file| file.path != HISTORY);
    pages.flat_map(|page| missing_in(tree, page)).collect()
}

fn missing_in(tree: &Tree, page: &File) -> Vec<Finding> {
    prose(page)
        .into_iter()
        .flat_map(|(at, text)| code_spans(text).map(move |span| (at, span)))
        .filter(|(_, span)| is_path(span) && !tree.has(span))
        .map(|(at, span)| page.finding(at, format!("names `{span}`, which is not there")))
        .collect()
}

/// Tests that these pages rely on, in the last column of their tables, and that are gone.
pub(crate) fn missing_tests(tree: &Tree) -> Vec<Finding> {
    let defined: BTreeSet<&str> = tree.ending(".rs").flat_map(functions).collect();
    let pages = tree.files.iter().filter(|file| SHOWN_BY_TESTS.contains(&&*file.path));
    let lines = pages.flat_map(|page| page.lines().map(move |(at, text)| (page, at, text)));
    lines
        .flat_map(|(page, at, text)| code_spans(last_cell(text)).map(move |span| (page, at, span)))
        .filter(|(_, _, span)| is_function(span) && !defined.contains(span))
        .map(|(page, at, span)| page.finding(at, format!("names `{span}`, which is not there")))
        .collect()
}

/// The names that stand before a bracket in a file: of its functions, also where a macro makes them.
fn functions(file: &File) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    file.text.split('(').filter_map(move |before| before.rsplit(|c| !is_name(c)).next())
}

/// The last cell of a row of a table, or nothing.
fn last_cell(text: &str) -> &str {
    text.strip_suffix('|').and_then(|row| row.rsplit('|').next()).unwrap_or_default()
}

fn is_function(span: &str) -> bool {
    span.contains('_')
        && span.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Pages of `docs/` that the index does not link to.
pub(crate) fn unlisted(tree: &Tree) -> Vec<Finding> {
    let index = tree.files.iter().find(|file| file.path == INDEX);
    let listed: Vec<String> = index
        .into_iter()
        .flat_map(|index| {
            links(index).into_iter().map(|(_, target)| {
                resolved(index.folder(), target.split('#').next().unwrap_or_default())
            })
        })
        .collect();
    tree.ending(".md")
        .filter(|page| page.path.starts_with("docs/") && page.path != INDEX)
        .filter(|page| !listed.contains(&page.path))
        .map(|page| page.finding(0, format!("{INDEX} does not link to it")))
        .collect()
}

/// Metrics that the program has and their page does not name, and the other way round.
pub(crate) fn metrics_apart(tree: &Tree) -> Vec<Finding> {
    let [Some(code), Some(page)] =
        METRICS.map(|path| tree.files.iter().find(|file| file.path == path))
    else {
        return vec![File::of(METRICS[0], "").finding(0, "the metrics or their page are gone")];
    };
    let (made, told) = (registered(&code.text), told(&page.text));
    let figures = figures(&code.text)
        .into_iter()
        .filter(|figure| !page.text.contains(&format!("`{figure}`")));
    let untold = made.difference(&told).cloned().chain(figures);
    let untold = untold.map(|name| page.finding(0, format!("lacks `{name}`")));
    let unmade = told.difference(&made).map(|name| page.finding(0, format!("`{name}` is gone")));
    untold.chain(unmade).collect()
}

/// The names that are registered: the first text after each `registry,`, with the namespace.
fn registered(code: &str) -> BTreeSet<String> {
    let calls = code.split("&registry,").skip(1);
    calls.filter_map(|rest| Some(format!("{METRICS_START}{}", rest.split('"').nth(1)?))).collect()
}

/// The figures of the vault, which are rows `("name", name),` of a table.
fn figures(code: &str) -> Vec<String> {
    let rows = code.lines().filter_map(|line| line.trim().strip_prefix("(\""));
    let pairs = rows.filter_map(|row| row.split_once("\", "));
    pairs
        .filter(|(name, rest)| rest.trim_end_matches("),") == *name)
        .map(|(n, _)| n.into())
        .collect()
}

/// The names that stand as code in a page, without the labels that may follow.
fn told(page: &str) -> BTreeSet<String> {
    let spans = page.lines().flat_map(code_spans);
    let names = spans.filter_map(|span| span.split('{').next());
    names.filter(|name| name.starts_with(METRICS_START)).map(str::to_owned).collect()
}

/// The lines outside of fenced code.
fn prose(file: &File) -> Vec<(usize, &str)> {
    let mut fenced = false;
    file.lines()
        .filter(|(_, text)| {
            let fence = text.trim_start().starts_with("```");
            fenced ^= fence;
            !fenced && !fence
        })
        .collect()
}

/// Where a page links to: `[text](target)` and `[name]: target`, outside of code.
fn links(file: &File) -> Vec<(usize, String)> {
    prose(file)
        .into_iter()
        .flat_map(|(at, text)| {
            let text = without_code(text);
            let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            let named = text.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
            let targets = inline.chain(named.map(|(_, target)| target.trim()));
            targets.map(|target| (at, target.to_owned())).collect::<Vec<_>>()
        })
        .collect()
}

/// The headings of a page as GitHub names them in links.
fn headings(file: &File) -> Vec<String> {
    let titles = prose(file).into_iter().filter(|(_, text)| text.starts_with('#'));
    titles.map(|(_, text)| slug(text.trim_start_matches('#').trim())).collect()
}

fn slug(title: &str) -> String {
    title
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

/// What stands between single backticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect()
}

fn is_path(span: &str) -> bool {
    let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "_./-".contains(c));
    let Some((top, _)) = span.split_once('/') else { return false };
    let last = span.rsplit('/').next().unwrap_or_default();
    plain && FOLDERS.contains(&top) && (last.is_empty() || last.contains('.'))
}

/// `target` as seen from `folder`, without `.` and `..`.
fn resolved(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_link_is_found() {
        let page = |text| {
            let files =
                [("docs/a.md", text), ("docs/b.md", "# One, *two*\n## `x` & y"), ("Makefile", "")];
            broken_links(&Tree::of(&files)).len()
        };
        for text in ["[a](c.md)", "[a](b.md#three)", "[a](#none)", "[a](../none/)", "[a]: c.md"] {
            assert_eq!(page(text), 1, "{text}");
        }
        for text in [
            "[a](b.md)",
            "[a](b.md#one-two)",
            "[a](b.md#x--y)",
            "# Here\n[a](#here)",
            "[a](../Makefile)",
            "[a](https://example.com/c.md)",
            "`[a](c.md)`",
            "```\n[a](c.md)\n```",
        ] {
            assert_eq!(page(text), 0, "{text}");
        }
    }

    #[test]
    fn a_named_file_that_is_not_there_is_found() {
        let found =
            |text| missing_paths(&Tree::of(&[("a.md", text), ("model/src/card.rs", "")])).len();
        assert_eq!(found("see `model/src/card.rs`, `model/` and `model/src/`"), 0);
        assert_eq!(found("see `model/src/pan.rs` and `vault/`"), 2);
        assert_eq!(found("`providers/src/<name>.rs`, `model/card`, `/etc/x.yaml`"), 0);
    }

    #[test]
    fn a_test_that_is_named_and_gone_is_found() {
        let code = ("model/src/a.rs", "fn a_card_is_good() {}");
        for page in SHOWN_BY_TESTS {
            let found = |text| missing_tests(&Tree::of(&[(page, text), code])).len();
            let kept = "| a | `body_bytes_max` | `a_card_is_good`, `make test`, `a/b_c.rs` |";
            assert_eq!(found(kept), 0, "{page}");
            assert_eq!(found("| a | b | `a_card_is_gone` |"), 1, "{page}");
        }
    }

    #[test]
    fn a_page_outside_of_the_index_is_found() {
        let index = ("docs/README.md", "[a](a.md#x)");
        assert_eq!(unlisted(&Tree::of(&[index, ("docs/a.md", "")])).len(), 0);
        assert_eq!(unlisted(&Tree::of(&[index, ("docs/b/a.md", ""), ("a.md", "")])).len(), 1);
    }

    #[test]
    fn a_front_page_that_grew_is_found() {
        let long = "a\n".repeat(121);
        assert_eq!(too_long(&Tree::of(&[("README.md", &long)])).len(), 1);
        assert_eq!(too_long(&Tree::of(&[("docs/README.md", &long)])).len(), 0);
    }

    #[test]
    fn a_metric_without_a_line_is_found_and_a_line_without_a_metric() {
        let apart =
            |code, page| metrics_apart(&Tree::of(&[(METRICS[0], code), (METRICS[1], page)])).len();
        let code = "gauge(&registry, \"a\", \"b\")?; counters(\n &registry,\n \"c_total\",";
        assert_eq!(apart(code, "`orchestra_a`, `orchestra_c_total{x=\"y\"}`"), 0);
        assert_eq!(apart(code, "`orchestra_a`"), 1);
        assert_eq!(apart(code, "`orchestra_a`, `orchestra_c_total`, `orchestra_d`"), 1);
        let code = "fn rows() {\n    (\"flushes\", flushes),\n}";
        assert_eq!(apart(code, "`flushes`"), 0);
        assert_eq!(apart(code, "flushes"), 1);
        assert_eq!(metrics_apart(&Tree::of(&[])).len(), 1);
    }
}
