//! Objects of JSON, read against a schema.
//!
//! An object is gone over once: each value is found and kept as a part of the body, to be read when
//! its turn in the schema comes. So what is told does not depend on the order of the input, and no
//! value is copied before it is known where it belongs.

use crate::decode::FieldError;
use crate::decode::schema::{DEPTH_MAX, FIELDS_MAX, Field, Form, Schema};
use crate::decode::text::Text;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// An object whose keys are known and come once. Its values are not read yet.
pub(super) struct Object<'de, 'p> {
    schema: &'static Schema,
    place: Place<'p>,
    values: [Option<&'de str>; FIELDS_MAX],
}

/// Where something stands in a body.
#[derive(Clone, Copy)]
pub(super) enum Place<'p> {
    Body,
    Field(&'p Self, &'static str),
    Item(&'p Self, usize),
}

/// What is found on the way over an object.
struct Survey<'de> {
    schema: &'static Schema,
    values: [Option<&'de str>; FIELDS_MAX],
    /// The field at whose value the syntax broke.
    broken: Option<&'static Field>,
    /// The first field of the schema that came twice.
    twice: Option<usize>,
    /// The first of the unknown names; empty if it must not be repeated.
    unknown: Option<Box<str>>,
}

/// What a key of an object means.
enum Key {
    Known(usize),
    Unknown(Box<str>),
}

/// Reads a key without copying it.
struct KeyOf(&'static Schema);

/// How long an unknown name may be to be repeated in an error.
const REPEATED_CHARS_MAX: usize = 24;

const NOT_JSON: &str = "is not valid JSON";
const MISSING: &str = "is required";
const NULL: &str = "must not be null";

// === impl Object ===

impl<'de> Object<'de, 'static> {
    /// Reads a whole body.
    pub(super) fn body(schema: &'static Schema, body: &'de [u8]) -> Result<Self, FieldError> {
        let text = sound_text(body).map_err(|problem| FieldError::new("", problem))?;
        if !text.trim_start().starts_with('{') {
            let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
            let problem = if is_json { "must be an object" } else { NOT_JSON };
            return Err(FieldError::new("", problem));
        }
        Self::read(schema, text, Place::Body)
    }
}

impl<'de, 'p> Object<'de, 'p> {
    fn read(schema: &'static Schema, json: &'de str, place: Place<'p>) -> Result<Self, FieldError> {
        let mut survey = Survey::new(schema);
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let whole = (&mut survey).deserialize(&mut deserializer).and_then(|()| deserializer.end());
        // The error quotes the input, and must not be kept.
        let values = survey.finish(whole.is_ok(), place)?;
        Ok(Self { schema, place, values })
    }

    /// A string, if it is there.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<Text<'de>>, FieldError> {
        let (field, Some(json)) = self.value(name)? else { return Ok(None) };
        if !json.starts_with('"') {
            return Err(self.wrong(name, "must be a string"));
        }
        let text = Text::read(json)
            .ok_or_else(|| self.wrong(name, "has an escape that stands for no character"))?;
        let Form::Text(rules) = &field.form else { return Ok(Some(text)) };
        match rules.problem(text.as_str()) {
            Some(problem) => Err(self.wrong(name, problem)),
            None => Ok(Some(text)),
        }
    }

    /// A string that must be there.
    pub(super) fn required_text(&self, name: &'static str) -> Result<Text<'de>, FieldError> {
        self.text(name)?.ok_or_else(|| self.wrong(name, MISSING))
    }

    /// A string that is no secret, if it is there.
    pub(super) fn boxed(&self, name: &'static str) -> Result<Option<Box<str>>, FieldError> {
        Ok(self.text(name)?.map(|text| text.to_box()))
    }

    /// The word of an enum as it is documented, if it is there.
    pub(super) fn word(&self, name: &'static str) -> Result<Option<&'static str>, FieldError> {
        let (field, _) = self.value(name)?;
        let (Form::Word(words), Some(text)) = (&field.form, self.text(name)?) else {
            return Ok(None);
        };
        let word = words.iter().find(|word| word.eq_ignore_ascii_case(text.as_str()));
        word.map(|word| Some(*word))
            .ok_or_else(|| self.wrong(name, "is not one of the documented words"))
    }

    /// `true` or `false`, if it is there.
    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, FieldError> {
        match self.value(name)?.1 {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.wrong(name, "must be true or false")),
        }
    }

    /// A whole number that must be there.
    pub(super) fn required_whole(&self, name: &'static str) -> Result<u32, FieldError> {
        self.whole(name)?.ok_or_else(|| self.wrong(name, MISSING))
    }

    /// A whole number, if it is there.
    pub(super) fn whole(&self, name: &'static str) -> Result<Option<u32>, FieldError> {
        let (field, json) = self.value(name)?;
        let (Form::Whole { min, max }, Some(json)) = (&field.form, json) else { return Ok(None) };
        let number = whole(json).ok_or_else(|| self.wrong(name, "must be a whole number"))?;
        let number = u32::try_from(number).ok().filter(|number| (min..=max).contains(&number));
        number.map(Some).ok_or_else(|| self.wrong(name, "is not in the documented range"))
    }

    /// The text of a number that must be there, exactly as it was written.
    pub(super) fn required_number(&self, name: &'static str) -> Result<&'de str, FieldError> {
        let json = self.value(name)?.1.ok_or_else(|| self.wrong(name, MISSING))?;
        if is_number(json) {
            Ok(json)
        } else {
            Err(self.wrong(name, "must be a number, not a string or another type"))
        }
    }

    /// An object, if it is there.
    pub(super) fn object(&self, name: &'static str) -> Result<Option<Object<'de, '_>>, FieldError> {
        let (field, json) = self.value(name)?;
        let (Form::Object(schema), Some(json)) = (&field.form, json) else { return Ok(None) };
        if !json.starts_with('{') {
            return Err(self.wrong(name, "must be an object"));
        }
        Object::read(schema, json, Place::Field(&self.place, field.name)).map(Some)
    }

    /// An object that must be there.
    pub(super) fn required_object(
        &self,
        name: &'static str,
    ) -> Result<Object<'de, '_>, FieldError> {
        self.object(name)?.ok_or_else(|| self.wrong(name, MISSING))
    }

    /// Reads each object of a list with `read`; none where the list is not there.
    pub(super) fn list<T>(
        &self,
        name: &'static str,
        mut read: impl FnMut(&Object<'de, '_>) -> Result<T, FieldError>,
    ) -> Result<Vec<T>, FieldError> {
        let (field, json) = self.value(name)?;
        let (Form::List { of, items_max }, Some(json)) = (&field.form, json) else {
            return Ok(Vec::new());
        };
        if !json.starts_with('[') {
            return Err(self.wrong(name, "must be an array"));
        }
        let items: Vec<&'de RawValue> =
            serde_json::from_str(json).map_err(|_| self.wrong(name, NOT_JSON))?;
        if items.len() > *items_max {
            return Err(self.wrong(name, "has more items than documented"));
        }
        let list = Place::Field(&self.place, field.name);
        let item = |(nth, item): (usize, &&'de RawValue)| {
            let place = Place::Item(&list, nth);
            if !item.get().starts_with('{') {
                return Err(FieldError::at(place, "must be an object"));
            }
            read(&Object::read(of, item.get(), place)?)
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The strings of a list that is no secret, if it is there.
    pub(super) fn texts(&self, name: &'static str) -> Result<Option<Vec<Box<str>>>, FieldError> {
        let (field, json) = self.value(name)?;
        let (Form::Texts { of, items_max }, Some(json)) = (&field.form, json) else {
            return Ok(None);
        };
        let items: Vec<Box<str>> = serde_json::from_str(json)
            .map_err(|_| self.wrong(name, "must be an array of strings"))?;
        if items.len() > *items_max {
            return Err(self.wrong(name, "has more items than documented"));
        }
        match items.iter().find_map(|item| of.problem(item)) {
            Some(problem) => Err(self.wrong(name, problem)),
            None => Ok(Some(items)),
        }
    }

    /// Refuses a value for a name that is kept for later.
    pub(super) fn reserved(&self, name: &'static str) -> Result<(), FieldError> {
        match self.value(name)? {
            (Field { form: Form::Reserved(why), .. }, Some(_)) => Err(self.wrong(name, why)),
            _ => Ok(()),
        }
    }

    /// A problem with a field of this object.
    pub(super) fn wrong(&self, name: &'static str, problem: &'static str) -> FieldError {
        FieldError::at(Place::Field(&self.place, name), problem)
    }

    /// What the schema says of a field, and its JSON unless it is absent or null.
    fn value(&self, name: &'static str) -> Result<(&'static Field, Option<&'de str>), FieldError> {
        let mut fields = self.schema.fields.iter().zip(&self.values);
        let (field, json) = fields
            .find(|(field, _)| field.name == name)
            .ok_or_else(|| self.wrong(name, "is not in the schema"))?;
        match *json {
            None if field.required => Err(self.wrong(name, MISSING)),
            Some("null") if field.required => Err(self.wrong(name, NULL)),
            Some("null") => Ok((field, None)),
            json => Ok((field, json)),
        }
    }
}

/// The body as text, if it is one that may be looked into.
fn sound_text(body: &[u8]) -> Result<&str, &'static str> {
    if body.trim_ascii().is_empty() {
        return Err("a JSON body is required");
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err("must not begin with a byte order mark");
    }
    let text = std::str::from_utf8(body).map_err(|_| "must be UTF-8")?;
    if is_shallow(body) { Ok(text) } else { Err("is nested too deeply") }
}

/// Whether nothing is nested too deeply. Most bodies have so few brackets that it need not be
/// looked at how they stand; counting them is cheap.
fn is_shallow(body: &[u8]) -> bool {
    let is_opening = |byte: &u8| u8::from(matches!(byte, b'{' | b'['));
    // So many at a time as a byte can count, since bytes are what is added the fastest.
    let opening = body
        .chunks(usize::from(u8::MAX))
        .map(|chunk| usize::from(chunk.iter().map(is_opening).fold(0, u8::wrapping_add)));
    opening.fold(0, usize::saturating_add) <= DEPTH_MAX || depth(body) <= DEPTH_MAX
}

/// How deep brackets outside of strings stand in one another.
fn depth(body: &[u8]) -> usize {
    let (mut open, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => open = open.saturating_add(1),
            b'}' | b']' if !quoted => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = open.max(deepest);
    }
    deepest
}

/// Whether a JSON value is a number.
fn is_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// A whole number by its value: `12`, `12.0` and `1.2e1` are the same integer of JSON Schema, and
/// some languages write one with a point. What does not fit becomes too large for any field.
fn whole(json: &str) -> Option<i64> {
    if let Ok(plain) = json.parse() {
        return Some(plain);
    }
    let (mantissa, power) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
    let (units, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = is_number(json).then(|| format!("{units}{fraction}"))?;
    // Without the zeros at its end it is whole if no place behind the point is left.
    let significant = digits.trim_end_matches('0');
    let zeros = i32::try_from(digits.len().checked_sub(significant.len())?).ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    let power = power.parse::<i32>().ok()?.checked_sub(places)?.checked_add(zeros)?;
    if matches!(significant, "" | "-") {
        return Some(0);
    }
    let factor = 10_i64.checked_pow(u32::try_from(power).ok()?).unwrap_or(i64::MAX);
    // The only digits that could fail here are too many.
    Some(significant.parse().unwrap_or(i64::MAX).saturating_mul(factor))
}

// === impl Place ===

impl Place<'_> {
    /// The documented name, dotted.
    pub(super) fn name(self) -> Cow<'static, str> {
        match self {
            Self::Body => "".into(),
            Self::Field(Self::Body, name) => name.into(),
            Self::Field(object, name) => format!("{}.{name}", object.name()).into(),
            Self::Item(list, nth) => format!("{}[{nth}]", list.name()).into(),
        }
    }
}

// === impl Survey ===

impl<'de> Survey<'de> {
    fn new(schema: &'static Schema) -> Self {
        Self { schema, values: [None; FIELDS_MAX], broken: None, twice: None, unknown: None }
    }

    fn keep(&mut self, nth: usize, json: &'de str) {
        let Some(value) = self.values.get_mut(nth) else { return };
        if value.replace(json).is_some() {
            self.twice = Some(self.twice.map_or(nth, |first| first.min(nth)));
        }
    }

    fn note_unknown(&mut self, name: Box<str>) {
        let first = self.unknown.take().map_or(name.clone(), |first| first.min(name));
        self.unknown = Some(first);
    }

    fn finish(
        self,
        well_formed: bool,
        place: Place<'_>,
    ) -> Result<[Option<&'de str>; FIELDS_MAX], FieldError> {
        if !well_formed {
            return Err(self.syntax(place));
        }
        if let Some(name) = &self.unknown {
            return Err(unknown(name, place));
        }
        match self.twice.and_then(|nth| self.schema.fields.get(nth)) {
            Some(field) => {
                Err(FieldError::at(Place::Field(&place, field.name), "is given more than once"))
            }
            None => Ok(self.values),
        }
    }

    /// Names the field whose value broke the syntax, if it was one: `NaN` is a wrong amount first.
    fn syntax(&self, place: Place<'_>) -> FieldError {
        match self.broken {
            Some(Field { name, form: Form::Amount, .. }) => {
                FieldError::at(Place::Field(&place, name), "must be a decimal number")
            }
            Some(field) => FieldError::at(Place::Field(&place, field.name), NOT_JSON),
            None => FieldError::at(place, NOT_JSON),
        }
    }
}

/// Says that a name is not documented. It is repeated only if it is a plain short word, since a
/// name could be a secret that a program put in the wrong place.
fn unknown(name: &str, place: Place<'_>) -> FieldError {
    let parent = place.name();
    let field = match (name.is_empty(), parent.is_empty()) {
        (true, _) => parent,
        (false, true) => name.to_owned().into(),
        (false, false) => format!("{parent}.{name}").into(),
    };
    let problem =
        if name.is_empty() { "has a field that is not documented" } else { "is not documented" };
    FieldError::new(field, problem)
}

impl<'de> DeserializeSeed<'de> for &mut Survey<'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Survey<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KeyOf(self.schema))? {
            self.broken = match key {
                Key::Known(nth) => self.schema.fields.get(nth),
                Key::Unknown(_) => None,
            };
            let json = map.next_value::<&'de RawValue>()?.get();
            self.broken = None;
            match key {
                Key::Known(nth) => self.keep(nth, json),
                Key::Unknown(name) => self.note_unknown(name),
            }
        }
        Ok(())
    }
}

// === impl KeyOf ===

impl<'de> DeserializeSeed<'de> for KeyOf {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyOf {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
        let known = self.0.fields.iter().position(|field| field.name.eq_ignore_ascii_case(name));
        Ok(known.map_or_else(|| Key::Unknown(repeatable(name).into()), Key::Known))
    }
}

/// The name if it may be repeated, or else nothing.
fn repeatable(name: &str) -> &str {
    let plain = name.len() <= REPEATED_CHARS_MAX && name.bytes().all(|b| b.is_ascii_alphabetic());
    if plain { name } else { "" }
}
