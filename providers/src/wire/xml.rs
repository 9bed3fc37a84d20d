//! XML: written element by element, and read into a small tree.
//!
//! What is read has no entities but the five of XML itself and numbers, and no document type of its
//! own: one that only names where it is published is passed over, and nobody fetches it. Everything
//! has a maximum, and what goes beyond it is not read at all.

use super::Body;
use model::{Cvv, Pan, Secret};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use std::fmt;

/// How deep elements may stand in each other.
const DEPTH_MAX: usize = 32;
/// How many elements a document may have.
const ELEMENTS_MAX: usize = 4_096;
/// How many attributes an element may have.
const ATTRIBUTES_MAX: usize = 32;

/// A document that is being written.
pub(crate) struct Xml {
    body: Body,
    open: Vec<&'static str>,
}

/// An element that was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Self>,
    text: String,
}

// === impl Xml ===

impl Xml {
    /// A document with what stands before its first element.
    pub(crate) fn new(document_type: &'static str) -> Self {
        let mut body = Body::roomy();
        body.push(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        body.push(document_type.as_bytes());
        Self { body, open: Vec::new() }
    }

    /// Opens an element. Names are ours and written as they are.
    pub(crate) fn open(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        self.start(name, attributes);
        self.body.push(b">");
        self.open.push(name);
    }

    /// Closes the element that was opened last.
    pub(crate) fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            self.end(name);
        }
    }

    /// Writes an element without contents.
    pub(crate) fn empty(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        self.start(name, attributes);
        self.body.push(b"/>");
    }

    /// Writes an element with a text.
    pub(crate) fn text(&mut self, name: &'static str, text: &str) {
        self.start(name, &[]);
        self.body.push(b">");
        self.escaped(text);
        self.end(name);
    }

    /// Writes an element where there is a text.
    pub(crate) fn text_if(&mut self, name: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// The one place where a card number enters a document.
    pub(crate) fn pan(&mut self, name: &'static str, pan: &Pan) {
        // The number is exposed because the provider can only charge a card that it is told.
        self.text(name, pan.expose());
    }

    /// The one place where a card verification value enters a document.
    pub(crate) fn cvv(&mut self, name: &'static str, cvv: Option<&Cvv>) {
        // The value is exposed because the issuer checks it; it is in this request and no other.
        self.text_if(name, cvv.map(Cvv::expose));
    }

    /// The one place where another secret enters a document.
    pub(crate) fn secret(&mut self, name: &'static str, secret: &Secret) {
        // The text is exposed because this request is the one that carries it.
        self.text(name, secret.expose());
    }

    /// The document, with all elements closed.
    pub(crate) fn into_body(mut self) -> Body {
        while !self.open.is_empty() {
            self.close();
        }
        self.body
    }

    fn start(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        self.body.push(b"<");
        self.body.push(name.as_bytes());
        for (name, value) in attributes {
            self.body.push(b" ");
            self.body.push(name.as_bytes());
            self.body.push(b"=\"");
            self.escaped(value);
            self.body.push(b"\"");
        }
    }

    fn end(&mut self, name: &'static str) {
        self.body.push(b"</");
        self.body.push(name.as_bytes());
        self.body.push(b">");
    }

    /// Writes a text. A character that XML cannot hold becomes a blank.
    fn escaped(&mut self, text: &str) {
        let mut buffer = [0_u8; 4];
        for c in text.chars() {
            let written: &str = match c {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => "&quot;",
                '\'' => "&apos;",
                '\u{fffe}' | '\u{ffff}' => " ",
                c if c.is_control() => " ",
                c => c.encode_utf8(&mut buffer),
            };
            self.body.push(written.as_bytes());
        }
    }
}

impl fmt::Debug for Xml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Xml({} bytes)", self.body.len())
    }
}

// === impl Element ===

impl Element {
    /// Reads a document, or nothing: an error would quote the input.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut reader = Reader::from_str(text);
        let mut open: Vec<Self> = Vec::new();
        let (mut root, mut count) = (None, 0_usize);
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    count = count.checked_add(1).filter(|count| *count <= ELEMENTS_MAX)?;
                    (open.len() < DEPTH_MAX && root.is_none()).then_some(())?;
                    open.push(Self::begun(&start)?);
                }
                Event::Empty(start) => {
                    count = count.checked_add(1).filter(|count| *count <= ELEMENTS_MAX)?;
                    let element = Self::begun(&start)?;
                    place(element, &mut open, &mut root)?;
                }
                Event::End(_) => {
                    let element = open.pop()?;
                    place(element, &mut open, &mut root)?;
                }
                Event::Text(text) => say(&mut open, &text)?,
                Event::CData(text) => say(&mut open, &text)?,
                Event::GeneralRef(name) => {
                    let c = match name.resolve_char_ref().ok()? {
                        Some(c) => c.to_string(),
                        None => quick_xml::escape::resolve_xml_entity(&name)?.to_owned(),
                    };
                    say(&mut open, &c)?;
                }
                // One with declarations of its own could name what is to be put in.
                Event::DocType(text) if text.contains('[') => return None,
                Event::DocType(_) | Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::Eof => return if open.is_empty() { root } else { None },
            }
        }
    }

    fn begun(start: &BytesStart<'_>) -> Option<Self> {
        let name = start.name().as_ref().to_owned();
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.ok()?;
            let name = attribute.key.as_ref().to_owned();
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned();
            attributes.push((name, value));
        }
        (attributes.len() <= ATTRIBUTES_MAX).then_some(Self { name, attributes, ..Self::default() })
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The first child of this name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.is(name))
    }

    pub(crate) fn children(&self) -> &[Self] {
        &self.children
    }

    /// The element at the end of a row of names.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    /// The text of it, without the blanks around it.
    pub(crate) fn words(&self) -> &str {
        self.text.trim()
    }

    /// The first line of the text of it, with the blanks at the end of the line.
    pub(crate) fn line(&self) -> &str {
        self.text.trim_start().lines().next().unwrap_or_default()
    }
}

/// Puts an element that is complete where it belongs.
fn place(element: Element, open: &mut [Element], root: &mut Option<Element>) -> Option<()> {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None if root.is_none() => *root = Some(element),
        None => return None,
    }
    Some(())
}

/// Adds to the text of the innermost element. Outside of all there may be blanks only.
fn say(open: &mut [Element], text: &str) -> Option<()> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None => text.trim().is_empty().then_some(())?,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{ATTRIBUTES_MAX, DEPTH_MAX, ELEMENTS_MAX, Element, Xml};

    #[test]
    fn what_is_written_is_read_again() {
        let strange = "<a href=\"x\">&'\u{0}\u{e9}]]>";
        let mut xml = Xml::new("<!DOCTYPE a PUBLIC \"b\" \"http://c/d.dtd\">\n");
        xml.open("a", &[("b", strange)]);
        xml.text("c", strange);
        xml.empty("d", &[]);
        let body = xml.into_body();
        let read = Element::parse(body.as_ref()).unwrap();
        let expected = strange.replace('\u{0}', " ");
        assert_eq!(read.attribute("b"), Some(&*expected));
        assert_eq!(read.at(&["c"]).unwrap().words(), expected);
        assert!(read.child("d").is_some() && read.children().len() == 2);
    }

    #[test]
    fn entities_and_declarations_are_not_read() {
        for text in [
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a/>",
            "<!DOCTYPE a SYSTEM \"x\" [<!ELEMENT a ANY>]><a/>",
            "<a>&x;</a>",
            "<a b=\"&x;\"/>",
            "<a>&#xFFFFFFF;</a>",
            "<a/><b/>",
            "<a></b>",
            "<a>",
            "</a>",
            "x<a/>",
            "<a b=\"1\" b=\"2\"/>",
            "",
        ] {
            assert_eq!(Element::parse(text.as_bytes()), None, "{text}");
        }
        assert!(Element::parse(b"<a>\xff</a>").is_none());
        let good = "<!DOCTYPE a PUBLIC \"b\" \"c\"><!-- x --><a>&lt;&#65;<![CDATA[&x;]]></a>\n";
        assert_eq!(Element::parse(good.as_bytes()).unwrap().words(), "<A&x;");
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert!(Element::parse(nested(DEPTH_MAX).as_bytes()).is_some());
        assert!(Element::parse(nested(DEPTH_MAX + 1).as_bytes()).is_none());
        let wide = |count: usize| format!("<a>{}</a>", "<b/>".repeat(count - 1));
        assert!(Element::parse(wide(ELEMENTS_MAX).as_bytes()).is_some());
        assert!(Element::parse(wide(ELEMENTS_MAX + 1).as_bytes()).is_none());
        let attributes = |count: usize| {
            let all: String = (0..count).map(|n| format!(" a{n}=\"x\"")).collect();
            format!("<a{all}/>")
        };
        assert!(Element::parse(attributes(ATTRIBUTES_MAX).as_bytes()).is_some());
        assert!(Element::parse(attributes(ATTRIBUTES_MAX + 1).as_bytes()).is_none());
    }
}
