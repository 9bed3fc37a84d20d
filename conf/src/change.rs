//! What is different between two configurations: what a program that runs does not do yet.

use crate::Config;
use serde_yaml_ng::Value;
use std::collections::{BTreeMap, BTreeSet};

// === impl Config ===

impl Config {
    /// The fields that mean something else in `other`, as they are written in a path. No value is
    /// among them.
    pub fn changed(&self, other: &Self) -> Vec<String> {
        let providers: BTreeSet<_> = self.providers.keys().chain(other.providers.keys()).collect();
        let (here, there) = (self.fields(&providers), other.fields(&providers));
        let all: BTreeSet<_> = here.keys().chain(there.keys()).collect();
        all.into_iter().filter(|field| here.get(*field) != there.get(*field)).cloned().collect()
    }

    /// Every field with its value. It is read from what is printed, so that no field is forgotten:
    /// a test compares what is printed with what was meant.
    fn fields(&self, providers: &BTreeSet<&String>) -> BTreeMap<String, Value> {
        // One that is not named has its defaults, which are no change when they are written out.
        let named = providers.iter().map(|name| ((*name).clone(), self.upstream(name)));
        let whole = Self { providers: named.collect(), ..self.clone() };
        let printed = serde_yaml_ng::from_str(&whole.to_string()).unwrap_or_default();
        let mut fields = BTreeMap::new();
        add("", printed, &mut fields);
        fields
    }
}

fn add(path: &str, value: Value, fields: &mut BTreeMap<String, Value>) {
    let Value::Mapping(parts) = value else {
        fields.insert(path.to_owned(), value);
        return;
    };
    for (name, part) in parts {
        let name = name.as_str().unwrap_or_default();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        add(&path, part, fields);
    }
}
