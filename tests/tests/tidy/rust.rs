//! Rust source taken apart as far as the checks need: code, comments, and what is only for tests.

use std::iter::Peekable;
use std::str::Chars;

/// One line of a Rust file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// What the compiler reads, with texts emptied: `"secret"` is `""` here.
    pub(crate) code: String,
    /// What is in comments, with the slashes.
    pub(crate) comment: String,
    /// Whether it is inside of a `#[cfg(test)]` module.
    pub(crate) test: bool,
}

/// The lines of a file, in order.
pub(crate) fn lines(text: &str) -> Vec<Line> {
    let mut reader = Reader { rest: text.chars().peekable(), lines: vec![Line::default()] };
    reader.read();
    mark_tests(&mut reader.lines);
    reader.lines
}

/// Whether `word` stands in `code` by itself, and not as a part of a longer name.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        let after = code.get(at.saturating_add(word.len())..).and_then(|t| t.chars().next());
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

/// Whether a comment that says why stands on the line of `lines[at]`, or above it within the same
/// statement: the first line of a statement may have it for all of its lines.
pub(crate) fn has_reason_above(lines: &[Line], at: usize) -> bool {
    if lines.get(at).is_some_and(Line::has_reason) {
        return true;
    }
    for line in lines.get(..at).unwrap_or_default().iter().rev().take(STATEMENT_LINES_MAX) {
        if line.is_comment() {
            return line.has_reason();
        }
        if line.code.trim_end().ends_with([';', '{', '}']) || line.code.trim().is_empty() {
            return false;
        }
    }
    false
}

/// How far above a comment may stand and still be about the same statement.
const STATEMENT_LINES_MAX: usize = 12;

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    lines: Vec<Line>,
}

// === impl Line ===

impl Line {
    /// Whether there is a comment and nothing else.
    pub(crate) fn is_comment(&self) -> bool {
        self.code.trim().is_empty() && !self.comment.is_empty()
    }

    /// Whether it has a comment for whoever reads the code, not for whoever uses it.
    pub(crate) fn has_reason(&self) -> bool {
        let doc = self.comment.starts_with("///") || self.comment.starts_with("//!");
        !self.comment.is_empty() && !doc
    }
}

// === impl Reader ===

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(c) = self.rest.next() {
            match c {
                '\n' => self.lines.push(Line::default()),
                '/' if self.rest.peek() == Some(&'/') => self.line_comment(),
                '/' if self.rest.peek() == Some(&'*') => self.block_comment(),
                '"' => self.text(),
                'r' if matches!(self.rest.peek(), Some('"' | '#')) && !self.in_name() => {
                    self.raw_text();
                }
                '\'' => self.quote(),
                c => self.code(c),
            }
        }
    }

    fn code(&mut self, c: char) {
        if let Some(line) = self.lines.last_mut() {
            line.code.push(c);
        }
    }

    fn comment(&mut self, c: char) {
        match self.lines.last_mut() {
            Some(_) if c == '\n' => self.lines.push(Line::default()),
            Some(line) => line.comment.push(c),
            None => {}
        }
    }

    /// Whether the last character of code belongs to a name, `b` of `br"…"` excepted.
    fn in_name(&self) -> bool {
        let code = self.lines.last().map_or("", |line| line.code.as_str());
        let code = code.strip_suffix('b').unwrap_or(code);
        code.ends_with(|c: char| c.is_alphanumeric() || c == '_')
    }

    fn line_comment(&mut self) {
        self.comment('/');
        while let Some(c) = self.rest.next_if(|c| *c != '\n') {
            self.comment(c);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_u32;
        let mut last = '/';
        self.comment('/');
        for c in self.rest.by_ref() {
            match c {
                '\n' => self.lines.push(Line::default()),
                c => {
                    if let Some(line) = self.lines.last_mut() {
                        line.comment.push(c);
                    }
                }
            }
            (depth, last) = match (last, c) {
                ('/', '*') => (depth.saturating_add(1), ' '),
                ('*', '/') => (depth.saturating_sub(1), ' '),
                (_, c) => (depth, c),
            };
            if depth == 0 {
                break;
            }
        }
    }

    /// A text in quotes: the quotes stay, the contents go, the lines are kept.
    fn text(&mut self) {
        self.code('"');
        while let Some(c) = self.rest.next() {
            match c {
                '"' => break,
                '\n' => self.lines.push(Line::default()),
                '\\' if self.rest.next_if_eq(&'\n').is_some() => self.lines.push(Line::default()),
                '\\' => {
                    self.rest.next();
                }
                _ => {}
            }
        }
        self.code('"');
    }

    fn raw_text(&mut self) {
        let mut hashes = 0_usize;
        while self.rest.next_if_eq(&'#').is_some() {
            hashes = hashes.saturating_add(1);
        }
        // `r#name` is a name, not a text.
        if self.rest.next_if_eq(&'"').is_none() {
            return self.code('r');
        }
        self.code('"');
        let mut seen = None;
        for c in self.rest.by_ref() {
            seen = match (c, seen) {
                ('"', _) => Some(0),
                ('#', Some(count)) => Some(1_usize.saturating_add(count)),
                _ => None,
            };
            if c == '\n' {
                self.lines.push(Line::default());
            }
            if seen == Some(hashes) {
                break;
            }
        }
        self.code('"');
    }

    /// A character in quotes, or the tick of a lifetime.
    fn quote(&mut self) {
        self.code('\'');
        let mut ahead = self.rest.clone();
        let closed = match ahead.next() {
            Some('\\') => true,
            Some(_) => ahead.next() == Some('\''),
            None => false,
        };
        if !closed {
            return;
        }
        if self.rest.next() == Some('\\') {
            self.rest.next();
        }
        while self.rest.next_if(|c| *c != '\'' && *c != '\n').is_some() {}
        if self.rest.next_if_eq(&'\'').is_some() {
            self.code('\'');
        }
    }
}

/// Marks the lines between the braces of each item that follows a `#[cfg(test)]`.
fn mark_tests(lines: &mut [Line]) {
    let mut depth = 0_i64;
    let mut waiting = false;
    let mut until: Option<i64> = None;
    for line in lines {
        waiting |= until.is_none() && line.code.contains("#[cfg(test)]");
        line.test = waiting || until.is_some();
        for c in line.code.chars() {
            match c {
                '{' => {
                    if std::mem::take(&mut waiting) {
                        until = Some(depth);
                    }
                    depth = depth.saturating_add(1);
                }
                '}' => {
                    depth = depth.saturating_sub(1);
                    until = until.filter(|outer| depth > *outer);
                }
                ';' => waiting = false,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{has_reason_above, has_word, lines};

    fn code(text: &str) -> Vec<String> {
        lines(text).into_iter().map(|line| line.code).collect()
    }

    #[test]
    fn texts_are_emptied_and_comments_set_apart() {
        for (text, expected) in [
            ("let a = \"b // c\"; // d", "let a = \"\"; "),
            ("let a = r#\"b \" c\"#;", "let a = \"\";"),
            ("let a = br\"b\";", "let a = b\"\";"),
            ("let a = 'x'; let b: &'static str;", "let a = ''; let b: &'static str;"),
            ("let a = '\"'; unsafe {}", "let a = ''; unsafe {}"),
            ("let a = '\\''; b", "let a = ''; b"),
            ("let a = '\\u{1F600}'; b", "let a = ''; b"),
            ("let a = \"\\\"\"; b", "let a = \"\"; b"),
            ("a /* b /* c */ d */ e", "a  e"),
            ("let r#type = for_r#x;", "let rtype = for_r#x;"),
        ] {
            assert_eq!(code(text), [expected], "{text}");
        }
        assert_eq!(lines("a; // b")[0].comment, "// b");
    }

    #[test]
    fn line_numbers_survive_what_spans_lines() {
        assert_eq!(code("a \"x\ny\" b\n/* c\nd */ e\nf \"\\\n g\" h").len(), 6);
        assert_eq!(code("r\"x\ny\"\nz"), ["\"", "\"", "z"]);
    }

    #[test]
    fn the_inside_of_a_test_module_is_known() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { }\n}\nfn c() {}";
        let marks: Vec<bool> = lines(text).iter().map(|line| line.test).collect();
        assert_eq!(marks, [false, true, true, true, true, false]);
        let text = "#[cfg(test)]\nuse a::b;\nfn c() {}";
        let marks: Vec<bool> = lines(text).iter().map(|line| line.test).collect();
        assert_eq!(marks, [true, true, false]);
    }

    #[test]
    fn a_word_is_not_a_part_of_a_name() {
        assert!(has_word("unsafe {", "unsafe"));
        assert!(!has_word("unsafe_code", "unsafe") && !has_word("not_unsafe", "unsafe"));
    }

    #[test]
    fn a_reason_is_about_its_statement_only() {
        for (text, expected) in [
            ("// why\na.expose();", true),
            ("a.expose(); // why", true),
            ("// why\nlet a = b(\n    c,\n    d.expose(),\n);", true),
            ("a.expose();", false),
            ("/// what\na.expose();", false),
            ("// why\nb();\na.expose();", false),
            ("// why\n\na.expose();", false),
            ("// why\nfn b() {\n    a.expose();", false),
        ] {
            let lines = lines(text);
            let at = lines.iter().position(|line| line.code.contains(".expose()")).unwrap();
            assert_eq!(has_reason_above(&lines, at), expected, "{text}");
        }
    }
}
