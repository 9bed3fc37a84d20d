//! `application/x-www-form-urlencoded` with bracket nesting, read strictly.

use percent_encoding::percent_decode;
use serde_json::{Map, Value};

/// How many pairs a form may have.
pub(super) const PAIRS_MAX: usize = 256;
/// How deep the brackets of a name may go.
pub(super) const DEPTH_MAX: usize = 6;

/// The text is not a form, or names something twice, or in two shapes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAForm(pub(super) &'static str);

/// Reads a form or a query: objects and lists, with texts as leaves.
pub(super) fn parse(text: &[u8]) -> Result<Map<String, Value>, NotAForm> {
    let mut root = Map::new();
    let pairs = text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    for (count, pair) in pairs.enumerate() {
        if count >= PAIRS_MAX {
            return Err(NotAForm("too many parameters"));
        }
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let name = decode(halves.next().unwrap_or_default())?;
        let value = decode(halves.next().unwrap_or_default())?;
        put(&mut root, &segments(&name)?, value)?;
    }
    Ok(root)
}

fn decode(raw: &[u8]) -> Result<String, NotAForm> {
    let spaced: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded: Vec<u8> = percent_decode(&spaced).collect();
    String::from_utf8(decoded).map_err(|_| NotAForm("a parameter is not UTF-8"))
}

/// `a[b][]` as `a`, `b` and the empty name.
fn segments(name: &str) -> Result<Vec<&str>, NotAForm> {
    let (first, rest) = name.split_once('[').map_or((name, None), |(a, b)| (a, Some(b)));
    let mut segments = vec![first];
    if let Some(rest) = rest {
        let inner = rest.strip_suffix(']').ok_or(NotAForm("a bracket is not closed"))?;
        segments.extend(inner.split("]["));
    }
    let odd = |segment: &&str| segment.contains(['[', ']']);
    if first.is_empty() || segments.iter().any(odd) || segments.len() > DEPTH_MAX {
        return Err(NotAForm("a parameter's name is not well formed"));
    }
    Ok(segments)
}

fn put(object: &mut Map<String, Value>, path: &[&str], value: String) -> Result<(), NotAForm> {
    match path {
        [name] => match object.insert((*name).to_owned(), Value::String(value)) {
            None => Ok(()),
            Some(_) => Err(NotAForm("a parameter is given twice")),
        },
        [name, rest @ ..] if is_list(rest) => {
            let list = object.entry(*name).or_insert_with(|| Value::Array(Vec::new()));
            let list = list.as_array_mut().ok_or(NotAForm("a parameter has two shapes"))?;
            list.push(Value::String(value));
            Ok(())
        }
        [name, rest @ ..] => {
            let inner = object.entry(*name).or_insert_with(|| Value::Object(Map::new()));
            let inner = inner.as_object_mut().ok_or(NotAForm("a parameter has two shapes"))?;
            put(inner, rest, value)
        }
        [] => Err(NotAForm("a parameter has no name")),
    }
}

/// `[]` and `[0]` at the end make a list.
fn is_list(rest: &[&str]) -> bool {
    matches!(rest, [index] if index.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, NotAForm, PAIRS_MAX, parse};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn brackets_nest_and_lists_collect() {
        let form = parse(b"a=1&b[c]=x%20y&b[d][e]=%C3%A9&l[]=p&l[]=q&m[0]=r&n=a+b%2Bc").unwrap();
        let wanted = json!({"a": "1", "b": {"c": "x y", "d": {"e": "é"}}, "l": ["p", "q"],
                            "m": ["r"], "n": "a b+c"});
        assert_eq!(Value::Object(form), wanted);
    }

    #[test]
    fn what_is_not_a_form_is_refused() {
        let deep = format!("a{}=1", "[b]".repeat(DEPTH_MAX));
        let long = "a[]=1&".repeat(PAIRS_MAX + 1);
        for text in ["a=1&a=2", "a=1&a[b]=2", "a[b=1", "=1", "a[b]c=1", "a=%FF", &deep, &long] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(parse(b"a=1&a=2"), Err(NotAForm("a parameter is given twice")));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&bytes));
        }
    }
}
