//! Which parameters a request may have, and of what type: tables, and the one function over them.

use serde_json::{Map, Value};

/// What a value must look like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Boolean,
    Integer,
    /// A list of anything; the sandbox does not read it.
    List,
    /// An object of anything; the sandbox does not read it.
    Map,
    /// An object with these members and no others.
    Object(&'static [Field]),
    /// An object of texts under free names: at most so many, of names and values of so many bytes.
    Pairs(usize, usize, usize),
    /// A text of at most so many bytes.
    Text(usize),
    /// A list of these words.
    Words(&'static [&'static str]),
    /// One of these words.
    Word(&'static [&'static str]),
}

/// A member of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
}

/// How the values were written: in a form, everything is a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Form,
    Json,
}

/// What is wrong, and with which member.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The names from the outermost object inwards.
    pub(super) path: Vec<String>,
    pub(super) fault: Fault,
}

/// What is wrong with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Missing,
    NotABoolean,
    NotAList,
    NotAWord(&'static [&'static str]),
    NotAnInteger,
    NotAnObject,
    NotText,
    TooLong(usize),
    TooMany(usize),
    Unknown,
}

/// A member that must be there.
pub(super) const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: true }
}

/// A member that may be there.
pub(super) const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: false }
}

/// Checks an object against its members: first the names that are there, then those that are not.
pub(super) fn check(
    object: &Map<String, Value>,
    fields: &'static [Field],
    written: Written,
) -> Result<(), Problem> {
    for (name, value) in object {
        let field = fields.iter().find(|field| field.name == name);
        let field = field.ok_or_else(|| Problem::at(name, Fault::Unknown))?;
        field.shape.check(value, written).map_err(|problem| problem.under(name))?;
    }
    match fields.iter().find(|field| field.required && !object.contains_key(field.name)) {
        Some(field) => Err(Problem::at(field.name, Fault::Missing)),
        None => Ok(()),
    }
}

/// The text at a JSON pointer.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

// === impl Shape ===

impl Shape {
    fn check(self, value: &Value, written: Written) -> Result<(), Problem> {
        match self {
            Self::Boolean => demand(is_boolean(value, written), Fault::NotABoolean),
            Self::Integer => demand(is_integer(value, written), Fault::NotAnInteger),
            Self::List => demand(value.is_array(), Fault::NotAList),
            Self::Map => demand(value.is_object(), Fault::NotAnObject),
            Self::Object(fields) => check(object(value)?, fields, written),
            Self::Pairs(count, name, text) => pairs(object(value)?, count, name, text),
            Self::Text(max) => {
                let text = value.as_str().ok_or_else(|| Problem::here(Fault::NotText))?;
                demand(text.len() <= max, Fault::TooLong(max))
            }
            Self::Words(words) => {
                let list = value.as_array().ok_or_else(|| Problem::here(Fault::NotAList))?;
                demand(list.iter().all(|item| is_word(item, words)), Fault::NotAWord(words))
            }
            Self::Word(words) => demand(is_word(value, words), Fault::NotAWord(words)),
        }
    }
}

fn demand(holds: bool, fault: Fault) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(Problem::here(fault)) }
}

fn object(value: &Value) -> Result<&Map<String, Value>, Problem> {
    value.as_object().ok_or_else(|| Problem::here(Fault::NotAnObject))
}

fn is_boolean(value: &Value, written: Written) -> bool {
    match written {
        Written::Form => matches!(value.as_str(), Some("true" | "false")),
        Written::Json => value.is_boolean(),
    }
}

fn is_integer(value: &Value, written: Written) -> bool {
    match written {
        Written::Form => value.as_str().is_some_and(|text| {
            let digits = text.strip_prefix('-').unwrap_or(text);
            !digits.starts_with('+') && digits.parse::<u64>().is_ok()
        }),
        Written::Json => value.is_i64() || value.is_u64(),
    }
}

fn is_word(value: &Value, words: &[&str]) -> bool {
    value.as_str().is_some_and(|word| words.contains(&word))
}

fn pairs(
    object: &Map<String, Value>,
    count: usize,
    name_max: usize,
    text_max: usize,
) -> Result<(), Problem> {
    demand(object.len() <= count, Fault::TooMany(count))?;
    for (name, value) in object {
        if name.len() > name_max {
            return Err(Problem::at(name, Fault::TooLong(name_max)));
        }
        Shape::Text(text_max).check(value, Written::Json).map_err(|problem| problem.under(name))?;
    }
    Ok(())
}

// === impl Problem ===

impl Problem {
    fn here(fault: Fault) -> Self {
        Self { path: Vec::new(), fault }
    }

    fn at(name: &str, fault: Fault) -> Self {
        Self { path: vec![name.to_owned()], fault }
    }

    fn under(mut self, name: &str) -> Self {
        self.path.insert(0, name.to_owned());
        self
    }

    /// `a[b][c]`, as in a form.
    pub(super) fn bracketed(&self) -> String {
        let mut names = self.path.iter();
        let mut text = names.next().cloned().unwrap_or_default();
        for name in names {
            text.push('[');
            text.push_str(name);
            text.push(']');
        }
        text
    }

    /// `a.b.c`, as in JSON.
    pub(super) fn dotted(&self) -> String {
        self.path.join(".")
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Field, Shape, Written, check, optional, required};
    use serde_json::json;

    const FIELDS: &[Field] = &[
        required("amount", Shape::Integer),
        optional("confirm", Shape::Boolean),
        optional("card", Shape::Object(&[required("number", Shape::Text(5))])),
        optional("metadata", Shape::Pairs(1, 3, 3)),
        optional("method", Shape::Word(&["a", "b"])),
        optional("expand", Shape::Words(&["x"])),
    ];

    #[test]
    fn every_problem_is_named_with_its_place() {
        for (value, path, fault) in [
            (json!({}), "amount", Fault::Missing),
            (json!({"amount": "1", "x": "1"}), "x", Fault::Unknown),
            (json!({"amount": "1.5"}), "amount", Fault::NotAnInteger),
            (json!({"amount": "+1"}), "amount", Fault::NotAnInteger),
            (json!({"amount": "1", "confirm": "yes"}), "confirm", Fault::NotABoolean),
            (json!({"amount": "1", "card": {}}), "card[number]", Fault::Missing),
            (json!({"amount": "1", "card": "x"}), "card", Fault::NotAnObject),
            (
                json!({"amount": "1", "card": {"number": "123456"}}),
                "card[number]",
                Fault::TooLong(5),
            ),
            (
                json!({"amount": "1", "metadata": {"a": "1", "b": "2"}}),
                "metadata",
                Fault::TooMany(1),
            ),
            (
                json!({"amount": "1", "metadata": {"long": "1"}}),
                "metadata[long]",
                Fault::TooLong(3),
            ),
            (json!({"amount": "1", "method": "c"}), "method", Fault::NotAWord(&["a", "b"])),
            (json!({"amount": "1", "expand": ["y"]}), "expand", Fault::NotAWord(&["x"])),
            (json!({"amount": "1", "expand": "x"}), "expand", Fault::NotAList),
        ] {
            let problem = check(value.as_object().unwrap(), FIELDS, Written::Form).unwrap_err();
            assert_eq!((problem.bracketed().as_str(), problem.fault), (path, fault), "{value}");
        }
    }

    #[test]
    fn json_has_types_of_its_own() {
        let good = json!({"amount": 1, "confirm": true, "card": {"number": "12345"}});
        assert_eq!(check(good.as_object().unwrap(), FIELDS, Written::Json), Ok(()));
        for (bad, path) in [
            (json!({"amount": "1"}), "amount"),
            (json!({"amount": 1, "confirm": "true"}), "confirm"),
            (json!({"amount": 1, "card": {"number": 12345}}), "card.number"),
        ] {
            let problem = check(bad.as_object().unwrap(), FIELDS, Written::Json).unwrap_err();
            assert_eq!(problem.dotted(), path);
        }
    }
}
